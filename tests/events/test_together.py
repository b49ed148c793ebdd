"""Appends to many streams in one call, and appends of many callers in one transaction."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

import pytest

from cloudlab.config import Config
from cloudlab.errors import InvalidInput, VersionConflict
from cloudlab.events import store as events
from cloudlab.events.projections import InlineProjection
from cloudlab.events.together import StreamAppend, append_all, append_all_next, append_each
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Event, NewEvent, Stream, uuid7
from fixtures.pgbouncer import THROUGH_PGBOUNCER

ROUTES = THROUGH_PGBOUNCER


def stream(name: UUID | None = None) -> Stream:
    return Stream("Note", name or uuid7())


def noted(text: str) -> NewEvent:
    return NewEvent("Noted", {"text": text})


async def read(platform: Platform, tenant: Tenant, of: Stream) -> list[tuple[int, str]]:
    async with platform.session(tenant, readonly=True) as s:
        return [(event.event_version, event.event_data["text"]) for event in await events.read_stream(s, of)]


async def test_each_stream_has_its_own_outcome(platform: Platform, acme: Tenant) -> None:
    new, taken, old, any_version = stream(), stream(), stream(), stream()
    async with platform.session(acme) as s:
        await events.append(s, taken, [noted("there")], expected_version=0)
        await events.append(s, old, [noted("one")], expected_version=0)

    async with platform.session(acme) as s:
        outcomes = await append_each(
            s,
            [
                StreamAppend(new, [noted("a"), noted("b")], 0),
                StreamAppend(taken, [noted("late")], 0),
                StreamAppend(old, [noted("two"), noted("three")], 1, {"actor": "ada"}),
                StreamAppend(any_version, [noted('a "quoted" \\ {brace}, comma')], None),
            ],
        )

    assert [outcome if isinstance(outcome, int) else type(outcome) for outcome in outcomes] == [
        2,
        VersionConflict,
        3,
        1,
    ]
    assert f"{taken.aggregate_id} is at version 1, not 0" in str(outcomes[1])
    assert await read(platform, acme, new) == [(1, "a"), (2, "b")]
    assert await read(platform, acme, taken) == [(1, "there")]
    assert await read(platform, acme, old) == [(1, "one"), (2, "two"), (3, "three")]
    assert await read(platform, acme, any_version) == [(1, 'a "quoted" \\ {brace}, comma')]
    async with platform.session(acme) as s:
        assert [(event.metadata or {})["actor"] for event in await events.read_stream(s, old, after_version=1)] == [
            "ada"
        ] * 2


async def test_all_or_none(platform: Platform, acme: Tenant) -> None:
    new, taken = stream(), stream()
    async with platform.session(acme) as s:
        assert await append_all(s, [StreamAppend(taken, [noted("there")], 0)]) == [1]

    with pytest.raises(VersionConflict, match="is at version 1, not 0"):
        async with platform.session(acme) as s:
            await append_all(s, [StreamAppend(new, [noted("a")], 0), StreamAppend(taken, [noted("late")], 0)])
    with pytest.raises(VersionConflict, match="is at version 0, not 7"):
        async with platform.session(acme) as s:
            await append_all_next(s, [StreamAppend(new, [noted("a")], 7)])

    assert await read(platform, acme, new) == []


async def test_an_append_that_makes_no_sense_is_refused(platform: Platform, acme: Tenant) -> None:
    twice = stream()
    async with platform.session(acme) as s:
        with pytest.raises(InvalidInput, match="named twice"):
            await append_each(s, [StreamAppend(twice, [noted("a")], 0), StreamAppend(twice, [noted("b")], 1)])
        with pytest.raises(InvalidInput, match="at least one event"):
            await append_each(s, [StreamAppend(twice, [], 0)])


async def test_callers_share_commits_and_keep_their_own_outcomes(platform: Platform, acme: Tenant) -> None:
    streams = [stream() for _ in range(40)]
    commits = await _commits(platform, acme)

    outcomes = await asyncio.gather(
        *(platform.append(acme, of, [noted(str(n))], expected_version=0) for of in streams for n in range(2)),
        return_exceptions=True,
    )

    assert sorted(str(outcome) if isinstance(outcome, int) else type(outcome).__name__ for outcome in outcomes) == (
        ["1"] * 40 + ["VersionConflict"] * 40
    )
    for of in streams:
        assert len(await read(platform, acme, of)) == 1
    assert await _commits(platform, acme) - commits < 40


async def test_a_bad_event_fails_only_who_brought_it(platform: Platform, acme: Tenant) -> None:
    good, bad = stream(), stream()

    outcomes = await asyncio.gather(
        platform.append(acme, good, [noted("fine")], expected_version=0),
        platform.append(acme, bad, [NewEvent("Noted", {"text": "nul \x00"})], expected_version=0),
        platform.append(acme, stream(), [NewEvent("Noted", {"price": 0.1})], expected_version=0),
        return_exceptions=True,
    )

    assert outcomes[0] == 1
    assert isinstance(outcomes[1], Exception)
    assert isinstance(outcomes[2], InvalidInput)
    assert await read(platform, acme, good) == [(1, "fine")]
    assert await read(platform, acme, bad) == []


async def test_appends_of_one_stream_keep_their_order(platform: Platform, acme: Tenant) -> None:
    one = stream()

    await asyncio.gather(*(platform.append(acme, one, [noted(str(n))], expected_version=None) for n in range(50)))

    assert await read(platform, acme, one) == [(n + 1, str(n)) for n in range(50)]


async def test_inline_projections_hear_of_what_was_accepted_only(config: Config) -> None:
    heard: list[tuple[int, str]] = []

    async def hear(_: Session, noted_events: Sequence[Event]) -> None:
        heard.extend((event.event_version, event.event_data["text"]) for event in noted_events)

    listening = InlineProjection("hear", frozenset({"Noted"}), hear)
    async with Platform.open(config, projections=[listening]) as platform:
        tenant = await platform.create_tenant("hearing")
        first, second = stream(), stream()
        await platform.append(tenant, first, [noted("one"), noted("two")], expected_version=0)
        async with platform.session(tenant) as s:
            await append_each(
                s, [StreamAppend(first, [noted("late")], 0), StreamAppend(second, [noted("three")], None)]
            )
        assert heard == [(1, "one"), (2, "two"), (1, "three")]


async def _commits(platform: Platform, tenant: Tenant) -> int:
    async with platform.session(tenant) as s:
        await s.execute("SELECT /* test */ pg_stat_force_next_flush()")
    async with platform.session(tenant) as s:

        def count(commits: int) -> int:
            return commits

        return await s.fetch_one(
            count,
            "SELECT /* test */ xact_commit AS commits FROM pg_stat_database WHERE datname = current_database()",
        )
