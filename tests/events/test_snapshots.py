"""Streams are read in both directions and folded from their newest snapshot; without it the result is the same.

Standard: §3.2 Event Store Schema
"""

import json
from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from cloudlab.config import DatabaseUrls
from cloudlab.errors import InvariantBroken
from cloudlab.events import archive, snapshots
from cloudlab.events import store as events
from cloudlab.events.snapshots import Folded, SnapshotFormat
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import Event, NewEvent, Stream
from fixtures.pgbouncer import THROUGH_PGBOUNCER

ROUTES = THROUGH_PGBOUNCER


@dataclass(frozen=True)
class Balance:
    amount: int = 0
    entries: int = 0


def fold(state: Balance, event: Event) -> Balance:
    return replace(state, amount=state.amount + event.event_data["amount"], entries=state.entries + 1)


def kept(version: int = 1) -> SnapshotFormat[Balance]:
    return SnapshotFormat(version, lambda b: {"amount": b.amount, "entries": b.entries}, lambda d: Balance(**d))


async def deposit(s: Session, account: Stream, *amounts: int) -> int:
    entries = [NewEvent("Deposited", {"amount": amount, "note": "x" * 200}) for amount in amounts]
    return await events.append(s, account, entries, expected_version=None)


@pytest.fixture
def account() -> Stream:
    return Stream("Account", uuid4())


async def test_a_stream_is_read_in_both_directions_from_a_version(platform: Platform, acme: Tenant, account: Stream):
    async def versions(**how: object) -> list[int]:
        return [event.event_version for event in await events.read_stream(s, account, **how)]  # type: ignore[arg-type]

    async with platform.session(acme) as s:
        await deposit(s, account, *range(10))
        await deposit(s, Stream("Account", uuid4()), 1)
        assert await versions() == [*range(1, 11)]
        assert await versions(after_version=7) == [8, 9, 10]
        assert await versions(after_version=3, limit=2) == [4, 5]
        assert await versions(backward=True) == [*range(10, 0, -1)]
        assert await versions(backward=True, after_version=4, limit=2) == [3, 2]
        assert await versions(backward=True, after_version=1) == []
        assert await events.read_stream(s, Stream("Order", account.aggregate_id)) == []


async def test_an_event_comes_back_whole(platform: Platform, acme: Tenant, account: Stream):
    async with platform.session(acme) as s:
        await deposit(s, account, 5)
        (found,) = await events.read_stream(s, account)
    assert found.event_data == {"amount": 5, "note": "x" * 200}
    (fed,) = await platform.read_feed(acme.shard, limit=1)
    assert found == fed


async def test_the_fold_is_the_same_with_and_without_snapshots(platform: Platform, acme: Tenant, account: Stream):
    async with platform.session(acme) as s:
        assert await snapshots.load(s, account, fold, Balance(), kept_as=kept()) == Folded(Balance(), 0, 0)
        await deposit(s, account, 1, 2, 3)
        whole = await snapshots.load(s, account, fold, Balance(), kept_as=kept())
        assert whole == Folded(Balance(6, 3), 3, 3)
        await snapshots.save(s, account, whole, kept())
        await deposit(s, account, 4)
    async with platform.session(acme, readonly=True) as s:
        assert await snapshots.load(s, account, fold, Balance(), kept_as=kept()) == Folded(Balance(10, 4), 4, 1)
        assert await snapshots.load(s, account, fold, Balance()) == Folded(Balance(10, 4), 4, 4)


async def test_a_snapshot_in_another_format_is_passed_over_and_an_older_one_replaces_nothing(
    platform: Platform, acme: Tenant, account: Stream
):
    async with platform.session(acme) as s:
        await deposit(s, account, 1, 2, 3)
        await snapshots.save(s, account, Folded(Balance(6, 3), 3, 3), kept(2))
        await snapshots.save(s, account, Folded(Balance(3, 2), 2, 2), kept(2))
        await snapshots.save(s, account, Folded(Balance(6, 3), 3, 3), kept(1))
        assert (await snapshots.load(s, account, fold, Balance(), kept_as=kept(1))).folded == 3
        assert (await snapshots.load(s, account, fold, Balance(), kept_as=kept(2))).folded == 0
        await snapshots.drop(s, account)
        assert (await snapshots.load(s, account, fold, Balance(), kept_as=kept(2))).folded == 3


async def test_a_long_stream_is_folded_in_pages(
    platform: Platform, acme: Tenant, account: Stream, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(snapshots, "_PAGE", 7)
    async with platform.session(acme) as s:
        for count in (6, 7, 8, 14, 15):
            stream = Stream("Account", uuid4())
            await deposit(s, stream, *[1] * count)
            assert await snapshots.load(s, stream, fold, Balance()) == Folded(Balance(count, count), count, count)
            await snapshots.save(s, stream, Folded(Balance(5, 5), 5, 5), kept())
            whole = await snapshots.load(s, stream, fold, Balance(), kept_as=kept())
            assert whole == Folded(Balance(count, count), count, count - 5)


async def test_archived_events_are_folded_too(platform: Platform, acme: Tenant, account: Stream):
    shard = shard_config(platform.config, acme.shard).urls
    gone = Stream("Account", uuid4())
    write_past(shard, acme, account, gone)
    async with platform.session(acme) as s:
        await events.append(s, account, [NewEvent("Deposited", {"amount": 1, "note": ""})], expected_version=5)
        whole = await snapshots.load(s, account, fold, Balance())
        assert whole == Folded(Balance(6, 6), 6, 6)
    await archive.archive_month(shard, date(2024, 2, 1))
    async with platform.session(acme) as s:
        assert await s.execute("SELECT FROM events WHERE aggregate_id = %(id)s::uuid", id=account.aggregate_id) == 1
        assert [event.event_version for event in await events.read_stream(s, account)] == [1, 2, 3, 4, 5, 6]
        assert await snapshots.load(s, account, fold, Balance()) == whole
        assert await snapshots.load(s, gone, fold, Balance()) == Folded(Balance(5, 5), 5, 5)
        await snapshots.save(s, account, Folded(Balance(3, 3), 3, 3), kept())
        await snapshots.save(s, gone, Folded(Balance(3, 3), 3, 3), kept())
        assert await snapshots.load(s, account, fold, Balance(), kept_as=kept()) == Folded(Balance(6, 6), 6, 3)
        assert await snapshots.load(s, gone, fold, Balance(), kept_as=kept()) == Folded(Balance(5, 5), 5, 2)


def write_past(shard: DatabaseUrls, acme: Tenant, *streams: Stream) -> None:
    """Write what an appender would have written in February 2024: five deposits into each stream."""
    with psycopg.connect(shard.owner_url, autocommit=True) as owner:
        owner.execute("SELECT cloudlab.ensure_event_partitions(1, '2024-02-10Z')")
    with psycopg.connect(shard.app_url) as app:
        app.execute("SELECT set_config('app.current_tenant_id', %s, true)", [str(acme.tenant_id)])
        for stream in streams:
            key = {"tenant": acme.tenant_id, "id": stream.aggregate_id, "type": stream.aggregate_type}
            app.execute("INSERT INTO cloudlab.event_streams VALUES (%(tenant)s, %(id)s, %(type)s, 5)", key)
            app.execute(
                "INSERT INTO cloudlab.events (tenant_id, event_position, aggregate_id, aggregate_type, event_type,"
                " event_version, event_data, created_at)"
                " SELECT %(tenant)s, nextval('cloudlab.event_position'), %(id)s, %(type)s, 'Deposited', n,"
                " '{\"amount\": 1}', '2024-02-10Z' FROM generate_series(1, 5) AS n",
                key,
            )


async def test_another_tenants_snapshot_is_not_seen(platform: Platform, acme: Tenant, account: Stream):
    rival = await platform.create_tenant("rival", region="eu-west-1")
    async with platform.session(acme) as s:
        await deposit(s, account, 1)
        await snapshots.save(s, account, Folded(Balance(1, 1), 1, 1), kept())
    async with platform.session(rival) as s:
        await deposit(s, account, 7)
        assert await snapshots.load(s, account, fold, Balance(), kept_as=kept()) == Folded(Balance(7, 1), 1, 1)


AS_IT_IS = SnapshotFormat[dict[str, Any]](1, lambda state: state, lambda state: state)


async def test_a_snapshot_of_a_person_is_sealed_and_counts_only_where_it_was_kept(platform: Platform, acme: Tenant):
    ada, bob = uuid4(), uuid4()
    folded = Folded({"email": "ada@acme.test"}, 1, 1)

    async def load(s: Session, of: UUID) -> Folded[dict[str, Any]]:
        return await snapshots.load(
            s, Stream("Member", of), lambda state, _: state | {"folded": 1}, {}, kept_as=AS_IT_IS
        )

    async with platform.session(acme) as s:
        for person in (ada, bob):
            joined = NewEvent("Joined", {})
            await events.append(s, Stream("Member", person), [joined], expected_version=0)
            await snapshots.save(s, Stream("Member", person), folded, AS_IT_IS, subject_id=person)
    async with platform.session(acme, readonly=True) as s:
        ((kept,),) = await s.fetch_tuples("SELECT state FROM event_snapshots WHERE subject_id = %(u)s::uuid", u=ada)
        assert kept.keys() == {"sealed", "subject"}
        assert await load(s, ada) == Folded({"email": "ada@acme.test"}, 1, 0)
    # Whoever is not the person folds the stream, which shows them nothing either.
    async with platform.session(acme, user_id=bob) as s:
        assert (await load(s, ada)).state.get("email") is None
    async with platform.session(acme) as s:
        await s.execute("UPDATE event_snapshots SET state = %(k)s::jsonb", k=json.dumps(kept))
        assert await load(s, ada) == Folded({"email": "ada@acme.test"}, 1, 0)
        with pytest.raises(InvariantBroken):
            await load(s, bob)
