"""The event store: appending one event, appending a hundred, reading the feed."""

import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import LiteralString

from benchmarks.client import Callers
from benchmarks.lab import Lab, numbered
from benchmarks.measure import Pace, Row, Target, compare, interleave
from benchmarks.pgbench import Load
from benchmarks.statements import SEARCH_PATH, opening, transaction
from cloudlab.events import store
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.values import Event, NewEvent, Stream

NAME = "events"
METHOD = (
    "events/s into 10,000 streams by asyncio tasks of one process, by pgbench in the tenant's transaction, and by "
    "pgbench calling append_events alone; floor: pgbench -M prepared, the same 300-byte JSON into a table with PK and "
    "UNIQUE (stream, version)"
)
_STREAMS = 10_000
_PAGE = 1_000
_DATA = {"order_id": str(numbered(1)), "status": "pending_payment", "note": "x" * 222}
_JSON = json.dumps(_DATA)
_TYPE = "BenchHappened"

_STREAM = f"\\draw stream {_STREAMS}\n"
_APPEND = """
    SELECT a.*
    FROM append_events('Bench', #stream, NULL, :types::varchar[], :data::jsonb[], NULL) AS a
"""
_INSERT_ONE = "INSERT INTO bench.events (stream, version, data) VALUES (#stream, nextval('bench.version'), :json)"
_INSERT_MANY = """
    INSERT INTO bench.events (stream, version, data)
    SELECT #stream, nextval('bench.version'), d FROM unnest(:data::jsonb[]) AS d
"""
_FEED: LiteralString = """
    SELECT event_position, event_id, tenant_id, aggregate_type, aggregate_id, event_type, event_version, event_data,
           metadata, created_at
    FROM cloudlab.read_feed(%(after)s::bigint, %(limit)s::integer)
"""
_KEYS: LiteralString = """
    SELECT event_position, event_id, tenant_id, aggregate_type, aggregate_id, event_type, event_version, event_data,
           metadata, created_at
    FROM cloudlab.events
    WHERE event_position > %(after)s::bigint AND event_position <= %(after)s::bigint + %(limit)s::bigint
    ORDER BY event_position
"""


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Measure appends of one event and of a hundred, then pages of the feed."""
    lab.run(
        "CREATE SCHEMA bench",
        "CREATE SEQUENCE bench.version",
        """
        CREATE TABLE bench.events (
            position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream uuid NOT NULL, version integer NOT NULL,
            data jsonb NOT NULL, UNIQUE (stream, version))
        """,
        "GRANT ALL ON ALL TABLES IN SCHEMA bench TO cloudlab_app",
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA bench TO cloudlab_app",
        "GRANT USAGE ON SCHEMA bench TO cloudlab_app",
    )
    try:
        context = await opening(lab)
        for callers in pace.callers(1, 4, 16):
            async for row in _append(lab, pace, context, callers, 1, Target("≥", 0.6 if callers == 16 else 0.7)):
                yield row
        async for row in _append(lab, pace, context, 1, 100, Target("≥", 0.7)):
            yield row
        async for row in _feed(lab, pace):
            yield row
    finally:
        lab.run("DROP SCHEMA bench CASCADE")


async def _append(lab: Lab, pace: Pace, context: str, callers: int, count: int, target: Target) -> AsyncGenerator[Row]:
    variables = {"json": _JSON, "types": _array([_TYPE] * count), "data": _array([_JSON] * count)}
    inside = SEARCH_PATH | {"app.current_tenant_id": str(lab.tenant.tenant_id)}

    def load(script: str, settings: dict[str, str]) -> Load:
        return Load(lab, script, clients=callers, units=count, variables=variables, settings=settings)

    async with lab.platform(callers) as platform:
        samples = await interleave(
            pace,
            python=Callers(lab, callers, _appending(platform, lab, count), units=count),
            session=load(_STREAM + transaction(context, _APPEND), SEARCH_PATH),
            function=load(f"{_STREAM}{_APPEND};", inside),
            floor=load(f"{_STREAM}{_INSERT_ONE if count == 1 else _INSERT_MANY};", {}),
        )
    what = f"{'one event' if count == 1 else f'{count} events'} a call, callers: {callers}"
    for way, name in (
        ("python", "events.append in a session"),
        ("session", "the same transaction by pgbench"),
        ("function", "append_events alone by pgbench"),
    ):
        yield compare(NAME, f"{what}, {name}", samples, figure=way, floor="floor", target=target)


def _array(items: list[str]) -> str:
    return "{" + ",".join(json.dumps(item) for item in items) + "}"


def _appending(platform: Platform, lab: Lab, count: int) -> Callable[[], Awaitable[None]]:
    async def append() -> None:
        stream = Stream("Bench", numbered(random.randrange(_STREAMS)))
        async with platform.session(lab.tenant) as s:
            await store.append(s, stream, [NewEvent(_TYPE, _DATA)] * count, expected_version=None)

    return append


async def _feed(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Read pages from the beginning of the feed to its end, again and again."""
    first, last = await _fill(lab, 10_000 if pace.quick else 50_000)
    positions = list(range(first, last - _PAGE, _PAGE))
    url = lab.urls.worker_url
    async with Pools(lab.config.limits) as pools:
        samples = await interleave(
            pace,
            feed=Callers(lab, 1, _reading(pools, url, _FEED, positions), units=_PAGE),
            keys=Callers(lab, 1, _reading(pools, url, _KEYS, positions), units=_PAGE),
        )
    target = Target("≥", 0.8)
    yield compare(
        NAME, f"feed pages of {_PAGE:,} as Event objects", samples, figure="feed", floor="keys", target=target
    )

    def load(query: str) -> Load:
        drawn = f"\\set page random(0, {len(positions) - 1})\n\\set after {first} + :page * {_PAGE}\n"
        text = query.replace("%(after)s", ":after").replace("%(limit)s", str(_PAGE))
        return Load(lab, f"{drawn}{text};", url=url, units=_PAGE)

    samples = await interleave(pace, feed=load(_FEED), keys=load(_KEYS))
    yield compare(NAME, f"feed pages of {_PAGE:,} by pgbench", samples, figure="feed", floor="keys", target=target)


async def _fill(lab: Lab, count: int) -> tuple[int, int]:
    """Append enough events in one go; return the first and the last position: none is missing between them."""
    async with lab.platform() as platform, platform.session(lab.tenant) as s:
        for number in range(count // 500):
            await store.append(
                s, Stream("Feed", numbered(number)), [NewEvent(_TYPE, _DATA)] * 500, expected_version=None
            )
        ended = await s.fetch_one(_position, "SELECT max(event_position) AS event_position FROM events")
    return ended - count, ended


def _position(event_position: int) -> int:
    return event_position


def _reading(pools: Pools, url: str, query: LiteralString, positions: list[int]) -> Callable[[], Awaitable[None]]:
    async def read() -> None:
        async with pools.transaction(url) as transaction:
            result = await transaction.execute(query, after=random.choice(positions), limit=_PAGE)
            if len(result.rows(Event)) != _PAGE:
                raise AssertionError("a page of the feed was not full")

    return read
