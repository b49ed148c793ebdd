"""Every event says who asked and what led to it, without anybody passing it on.

Standard: §3.2 Event Store Schema
"""

from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest

from cloudlab.config import Config
from cloudlab.errors import InvalidInput
from cloudlab.events import store as events
from cloudlab.events.projections import InlineProjection
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.shop import users
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Cause, Event, NewEvent, Stream, caused_by, uuid7, uuid7_time
from fixtures.pgbouncer import THROUGH_PGBOUNCER

ROUTES = THROUGH_PGBOUNCER

HAPPENED = [NewEvent("Happened", {})]
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def appended(platform: Platform, tenant: Tenant, *, user_id: UUID | None = None, cause: Cause | None = None):
    stream = Stream("Thing", uuid4())
    async with platform.session(tenant, user_id=user_id, cause=cause) as s:
        await events.append(s, stream, HAPPENED, expected_version=0)
        await events.append(s, Stream("Thing", uuid4()), HAPPENED, expected_version=0)
        return (await events.read_stream(s, stream))[0], (await s.fetch(dict, "SELECT metadata FROM events"))


async def test_a_session_stamps_all_its_events_with_one_fresh_correlation(platform: Platform, acme: Tenant):
    first, both = await appended(platform, acme)
    second, _ = await appended(platform, acme)
    assert first.metadata
    assert second.metadata
    assert [row["metadata"] for row in both] == [first.metadata] * 2
    assert first.metadata.keys() == {"correlation_id"}
    assert first.metadata != second.metadata
    assert uuid7_time(UUID(first.metadata["correlation_id"]))


async def test_what_the_caller_says_of_the_cause_lands_in_every_event(platform: Platform, acme: Tenant):
    cause = Cause(correlation_id=uuid4(), causation_id=uuid4(), actor="ada", traceparent=TRACE)
    found, _ = await appended(platform, acme, cause=cause)
    assert found.metadata == {
        "correlation_id": str(cause.correlation_id),
        "causation_id": str(cause.causation_id),
        "actor": "ada",
        "traceparent": TRACE,
    }


async def test_the_actor_is_the_sessions_user_unless_another_is_named(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        ada = await users.register(s, email="ada@acme.test", first_name="Ada", last_name="L")
    found, _ = await appended(platform, acme, user_id=ada.user_id)
    assert found.metadata
    assert found.metadata["actor"] == str(ada.user_id)
    found, _ = await appended(platform, acme, user_id=ada.user_id, cause=Cause(actor="support"))
    assert found.metadata
    assert found.metadata["actor"] == "support"


async def test_metadata_of_one_append_wins_and_leaves_the_rest(platform: Platform, acme: Tenant):
    stream = Stream("Thing", uuid4())
    async with platform.session(acme, cause=Cause(actor="ada")) as s:
        await events.append(s, stream, HAPPENED, expected_version=0, metadata={"actor": "robot", "reason": "test"})
        await events.append_next(s, stream, HAPPENED, expected_version=1)
        first, second = await events.read_stream(s, stream)
    assert first.metadata
    assert (first.metadata["actor"], first.metadata["reason"]) == ("robot", "test")
    assert second.metadata == {"correlation_id": first.metadata["correlation_id"], "actor": "ada"}


async def test_what_is_done_because_of_an_event_names_it_and_keeps_its_correlation(platform: Platform, acme: Tenant):
    first, _ = await appended(platform, acme, cause=Cause(actor="ada", traceparent=TRACE))
    second, _ = await appended(platform, acme, cause=caused_by(first))
    assert first.metadata
    assert second.metadata == {**first.metadata, "causation_id": str(first.event_id)}


async def test_an_inline_projection_sees_the_same_metadata(config: Config):
    seen: list[Event] = []

    async def look(s: Session, happened: Sequence[Event]) -> None:
        seen.extend(happened)

    inline = InlineProjection("look", frozenset({"Happened"}), look)
    async with Platform.open(config, projections=[inline]) as platform:
        found, _ = await appended(platform, await platform.create_tenant("acme"), cause=Cause(actor="ada"))
    assert [event.metadata for event in seen] == [found.metadata] * 2


def test_an_event_without_correlation_begins_one():
    bare = Event(
        event_position=1, event_id=uuid7(), tenant_id=uuid4(), aggregate_type="Thing", aggregate_id=uuid4(),
        event_type="Happened", event_version=1, event_data={}, metadata=None, created_at=uuid7_time(uuid7()),
    )  # fmt: skip
    assert caused_by(bare) == Cause(correlation_id=bare.event_id, causation_id=bare.event_id)


@pytest.mark.parametrize(
    "wrong", ["", "00-4bf92f3577b34da6a3ce929d0e0e4736", TRACE.upper(), f"00-{'0' * 32}-00f067aa0ba902b7-01"]
)
def test_a_malformed_traceparent_is_refused(wrong: str):
    with pytest.raises(InvalidInput, match="traceparent"):
        Cause(traceparent=wrong)
