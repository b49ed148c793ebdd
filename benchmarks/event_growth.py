"""How large events are, and whether appends and the feed stay as fast while a store grows to millions of them.

Buffers are counted too, since time on a busy machine says little: how many pages are looked at does not depend on it.
"""

import json
import random
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import LiteralString
from uuid import UUID

import psycopg

from benchmarks.lab import Lab, numbered
from benchmarks.measure import Pace, Row, Spread, Target

_NAME = "events"
_STREAM_LENGTH, _AT_ONCE, _PAGE, _LEAST = 10, 2_000, 1_000, 10_000
_JSON = json.dumps({"order_id": str(numbered(1)), "status": "pending_payment", "note": "x" * 207})
_APPEND: LiteralString = """
    SELECT count(a.last_version) FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
        append_events('Grow', ('01900000-0000-7000-9000-' || lpad((n %% %(streams)s)::text, 12, '0'))::uuid, NULL,
                      ARRAY['BenchHappened']::varchar[], ARRAY[%(data)s::jsonb], NULL) AS a
"""
_APPEND_ONE: LiteralString = """
    SELECT a.last_version FROM append_events('Grow', %(stream)s::uuid, NULL, ARRAY['BenchHappened']::varchar[],
        ARRAY[%(data)s::jsonb], NULL) AS a
"""
_EXPLAIN_APPEND: LiteralString = """
    EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
    SELECT a.last_version FROM append_events('Grow', %(stream)s::uuid, NULL, ARRAY['BenchHappened']::varchar[],
        ARRAY[%(data)s::jsonb], NULL) AS a
"""
_EXPLAIN_PAGE: LiteralString = """
    EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
    SELECT f.event_position FROM cloudlab.read_feed(%(after)s::bigint, %(limit)s::integer) AS f
"""


@dataclass(frozen=True, slots=True)
class _Cost:
    milliseconds: float
    buffers: float


@dataclass(frozen=True, slots=True)
class _Size:
    """The store at one moment: how far the log is, how much is on disk, and what was written of whole pages."""

    log: int
    disk: int
    whole_pages: int
    level: str


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Fill a store in steps; measure bytes while it is small, and the cost of an append and of a page at each size."""
    most = 100_000 if pace.quick else 10_000_000 if pace.full else 1_000_000
    with _connect(lab) as app, psycopg.connect(lab.urls.worker_url, autocommit=True) as worker:
        begin = _position(lab)
        _append_singly(app, 0, _LEAST)
        costs = {_LEAST: _costs(lab, app, worker, begin, _LEAST)}
        before = _size(lab)
        _append_singly(app, _LEAST, 2 * _LEAST)
        for row in _bytes(before, _size(lab), _LEAST):
            yield row
        _fill(app, 2 * _LEAST, most)
        costs[most] = _costs(lab, app, worker, begin, most)
    for number, what in enumerate(("one append", f"a feed page of {_PAGE:,}")):
        small, large = costs[_LEAST][number], costs[most][number]
        for row in _compare(what, most, small, large):
            yield row


def _costs(
    lab: Lab, app: psycopg.Connection, worker: psycopg.Connection, begin: int, filled: int
) -> tuple[Sequence[_Cost], Sequence[_Cost]]:
    """What an append to one of the streams costs now, and what a page of the feed."""
    lab.run("VACUUM ANALYZE cloudlab.event_streams")
    return _appends(app, filled), _pages(worker, begin, _position(lab))


def _connect(lab: Lab) -> psycopg.Connection:
    """Connect as the application, bound to the tenant."""
    options = f"-c search_path=shop,cloudlab,pg_temp -c app.current_tenant_id={lab.tenant.tenant_id}"
    return psycopg.connect(lab.urls.app_url, autocommit=True, options=options)


def _append_singly(app: psycopg.Connection, first: int, last: int) -> None:
    """Append single events in transactions of their own, to a stream for every ten of them, in turns."""
    app.execute("SET synchronous_commit = off")
    for number in range(first, last):
        app.execute(_APPEND_ONE, {"stream": _stream(number % (_LEAST // _STREAM_LENGTH)), "data": _JSON})
    app.execute("RESET synchronous_commit")


def _fill(app: psycopg.Connection, done: int, wanted: int) -> None:
    """Append single events, many in a transaction, to a stream for every ten of them, in turns."""
    for first in range(done, wanted, _AT_ONCE):
        last = min(first + _AT_ONCE, wanted) - 1
        app.execute(_APPEND, {"first": first, "last": last, "streams": wanted // _STREAM_LENGTH, "data": _JSON})


def _stream(number: int) -> UUID:
    return UUID(f"01900000-0000-7000-9000-{number:012}")


def _size(lab: Lab) -> _Size:
    ((log, disk, whole_pages, level),) = lab.ask(
        """
        SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint,
            (SELECT sum(pg_total_relation_size(t.relid)) FROM pg_partition_tree('cloudlab.events') AS t WHERE t.isleaf)
                + pg_total_relation_size('cloudlab.event_streams'),
            (SELECT wal_fpi FROM pg_stat_wal),
            current_setting('wal_level')
        """
    )
    return _Size(int(log), int(disk), int(whole_pages), str(level))


def _position(lab: Lab) -> int:
    ((position,),) = lab.ask("SELECT coalesce(pg_sequence_last_value('cloudlab.event_position'), 0)")
    return int(position)


def _bytes(before: _Size, after: _Size, count: int) -> list[Row]:
    log, disk = (after.log - before.log) / count, (after.disk - before.disk) / count
    pages = f"{after.whole_pages - before.whole_pages:,} whole pages; wal_level {after.level}"
    return [
        Row(
            _NAME,
            f"{what} per event of 300 B",
            "B",
            Spread.of([value]),
            target=Target("≤", most, "figure"),
            detail=more,
        )
        for what, value, most, more in (
            ("log", log, 850, f"appended one by one, commit included; {pages}"),
            ("disk", disk, 560, "heap, TOAST and indexes of events and of event_streams"),
        )
    ]


def _appends(app: psycopg.Connection, filled: int) -> list[_Cost]:
    streams = filled // _STREAM_LENGTH
    drawn = [_stream(random.randrange(streams)) for _ in range(200)]
    return [_explain(app, _EXPLAIN_APPEND, {"stream": stream, "data": _JSON}) for stream in drawn][20:]


def _pages(worker: psycopg.Connection, first: int, last: int) -> list[_Cost]:
    drawn = [random.randrange(first, last - _PAGE) for _ in range(60)]
    return [_explain(worker, _EXPLAIN_PAGE, {"after": after, "limit": _PAGE}) for after in drawn][10:]


def _explain(conn: psycopg.Connection, query: LiteralString, params: dict[str, object]) -> _Cost:
    row = conn.execute(query, params).fetchone()
    assert row is not None
    (told,) = row[0]
    plan = told["Plan"]
    return _Cost(told["Execution Time"], plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _compare(what: str, most: int, small: Sequence[_Cost], large: Sequence[_Cost]) -> list[Row]:
    """Make a row for time and one for buffers: at the large size against at the small one."""
    found = list[Row]()
    for unit, few, many in (
        ("ms", [cost.milliseconds for cost in small], [cost.milliseconds for cost in large]),
        ("buffers", [cost.buffers for cost in small], [cost.buffers for cost in large]),
    ):
        ratio = median(many) / median(few)
        found.append(
            Row(
                _NAME,
                f"{what} with {most:,} events; floor: with {_LEAST:,}",
                unit,
                Spread.of(many),
                Spread.of(few),
                Spread.of([ratio]),
                Target("≤", 1.5),
                "by EXPLAIN ANALYZE, which times every node",
            )
        )
    return found
