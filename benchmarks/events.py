"""The event store: appending one event, a hundred, many at once; reading a stream, the feed; bytes, and growth."""

import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import LiteralString

from benchmarks import event_growth
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
    "pgbench calling append_events alone; floor: pgbench -M prepared, the same 300-byte JSON into a plain table of the "
    "same columns with PK and UNIQUE (stream, version); appends that share a commit against the same row by 16 clients"
)
_STREAMS = 10_000
_PAGE = 1_000
_DATA = {"order_id": str(numbered(1)), "status": "pending_payment", "note": "x" * 207}
_JSON = json.dumps(_DATA)
_TYPE = "BenchHappened"

_STREAM = f"\\draw stream {_STREAMS}\n"
_APPEND = """
    SELECT a.*
    FROM append_events('Bench', #stream, NULL, :types::varchar[], :data::jsonb[], NULL) AS a
"""
_INSERT_ONE = """
    INSERT INTO bench.events (tenant_id, aggregate_id, aggregate_type, event_type, event_version, event_data)
    VALUES (:tenant::uuid, #stream, 'Bench', 'BenchHappened', nextval('bench.version'), :json)
"""
_INSERT_MANY = """
    INSERT INTO bench.events (tenant_id, aggregate_id, aggregate_type, event_type, event_version, event_data)
    SELECT :tenant::uuid, #stream, 'Bench', n.event_type, nextval('bench.version'), n.event_data
    FROM unnest(:types::varchar[], :data::jsonb[]) AS n (event_type, event_data)
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


_STREAM_ROWS = """
    SELECT event_position, event_id, tenant_id, aggregate_type, aggregate_id, event_type, event_version, event_data,
           metadata, created_at
    FROM cloudlab.events WHERE aggregate_id = #stream AND tenant_id = cloudlab.current_tenant() ORDER BY event_version;
"""


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Measure appends, then reading a stream and the feed, then bytes and how all of it grows."""
    lab.run(
        "CREATE SCHEMA bench",
        "CREATE SEQUENCE bench.version",
        """
        CREATE TABLE bench.events (
            event_id uuid DEFAULT uuidv7() NOT NULL, tenant_id uuid NOT NULL,
            event_position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, aggregate_id uuid NOT NULL,
            aggregate_type varchar(100) NOT NULL, event_type varchar(100) NOT NULL, event_version integer NOT NULL,
            event_data jsonb NOT NULL, metadata jsonb, created_at timestamptz DEFAULT now() NOT NULL,
            UNIQUE (aggregate_id, event_version))
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
        for part in (_together, _stream, _feed, event_growth.rows):
            async for row in part(lab, pace):
                yield row
    finally:
        lab.run("DROP SCHEMA bench CASCADE")


async def _append(lab: Lab, pace: Pace, context: str, callers: int, count: int, target: Target) -> AsyncGenerator[Row]:
    variables = _variables(lab, count)
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


def _variables(lab: Lab, count: int) -> dict[str, str]:
    return {
        "tenant": str(lab.tenant.tenant_id),
        "json": _JSON,
        "types": _array([_TYPE] * count),
        "data": _array([_JSON] * count),
    }


def _array(items: list[str]) -> str:
    return "{" + ",".join(json.dumps(item) for item in items) + "}"


def _appending(platform: Platform, lab: Lab, count: int) -> Callable[[], Awaitable[None]]:
    async def append() -> None:
        stream = Stream("Bench", numbered(random.randrange(_STREAMS)))
        async with platform.session(lab.tenant) as s:
            await store.append(s, stream, [NewEvent(_TYPE, _DATA)] * count, expected_version=None)

    return append


async def _together(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Append by many callers of one process whose appends share round trips and commits."""
    floor = Load(lab, f"{_STREAM}{_INSERT_ONE};", clients=16, variables=_variables(lab, 1))
    targets = {16: 0.8, 64: 1.4, 256: 1.8}
    async with lab.platform(4) as platform:

        async def append() -> None:
            stream = Stream("Bench", numbered(random.randrange(_STREAMS)))
            await platform.append(lab.tenant, stream, [NewEvent(_TYPE, _DATA)], expected_version=None)

        ways = {str(callers): Callers(lab, callers, append) for callers in pace.callers(*targets)}
        samples = await interleave(pace, floor=floor, **ways)
    for callers in ways:
        what = f"platform.append, one event a call, callers: {callers}; floor: 16 clients"
        target = Target("≥", targets[int(callers)])
        yield compare(NAME, what, samples, figure=callers, floor="floor", target=target)


async def _stream(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Load a stream of a thousand events and fold it into one value."""
    folded, length = numbered(_STREAMS), 1000
    stream = Stream("Folded", folded)
    async with lab.platform() as platform:
        async with platform.session(lab.tenant) as s:
            for _ in range(length // 100):
                await store.append(s, stream, [NewEvent(_TYPE, _DATA)] * 100, expected_version=None)

        async def fold() -> None:
            async with platform.session(lab.tenant, readonly=True) as s:
                events = await store.read_stream(s, stream, limit=length)
            statuses: dict[str, int] = {}
            for event in events:
                status = event.event_data["status"]
                statuses[status] = statuses.get(status, 0) + event.event_version
            if sum(statuses.values()) != length * (length + 1) // 2:
                raise AssertionError("the stream was not read whole")

        text = _STREAM_ROWS.replace("#stream", f"'{folded}'::uuid")
        inside = SEARCH_PATH | {"app.current_tenant_id": str(lab.tenant.tenant_id)}
        samples = await interleave(
            pace, fold=Callers(lab, 1, fold, units=length), rows=Load(lab, text, units=length, settings=inside)
        )
    what = f"load and fold a stream of {length:,} events; floor: its rows by pgbench"
    yield compare(
        NAME, what, samples, figure="fold", floor="rows", target=Target("≥", 150_000, "figure"), unit=" events/s"
    )


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
