"""Migrations: a thousand schemas at once, a column filled under load, how long clients wait for each online change."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo

from benchmarks.clients import updating
from benchmarks.lab import Lab
from benchmarks.measure import Pace, Row, Sample, Spread, Target, compare
from cloudlab.schema import fanout, files, online
from cloudlab.schema.online_operations import build
from cloudlab.schema.online_steps import Phase

NAME = "migrations"
METHOD = (
    "schemas/s that get a column, an index and a version row, by fanout.up; floor: one plain string per schema, 4 "
    "connections. rows/s of a backfill beside two updaters; floor: a single UPDATE. Longest wait in ms of two clients "
    "during each online change; floor: during the plain statement. What they waited alone, before it, is the machine's"
)
_SCHEMAS, _QUICK_SCHEMAS = 1000, 200
_ROWS, _QUICK_ROWS, _FULL_ROWS = 500_000, 100_000, 5_000_000
_HEADER = "-- Migration: m\n-- Author: bench\n-- Date: 2026-01-01\n-- Description: d\n-- Standard: §6.1\n"
_ITEMS: LiteralString = """
    DROP SCHEMA IF EXISTS bench CASCADE;
    CREATE SCHEMA bench;
    CREATE TABLE bench.vendors (vendor_id integer PRIMARY KEY);
    INSERT INTO bench.vendors SELECT n FROM generate_series(0, 99) AS n;
    CREATE TABLE bench.items (
        item_id uuid PRIMARY KEY, number integer NOT NULL, vendor_id integer NOT NULL, name text NOT NULL,
        touched integer NOT NULL DEFAULT 0, value integer);
    INSERT INTO bench.items (item_id, number, vendor_id, name, value)
        SELECT gen_random_uuid(), n, n % 100, 'item ' || n, {value} FROM generate_series(0, {rows} - 1) AS n;
    CREATE UNIQUE INDEX idx_items_number ON bench.items (number);
"""
_PLAIN: LiteralString = """
    BEGIN; SET LOCAL search_path = {schema}; SET LOCAL lock_timeout = '20ms';
    ALTER TABLE items ADD {name} integer; CREATE INDEX {name} ON items (name);
    INSERT INTO plain VALUES ({version}); COMMIT
"""
# Operation, the plain statement, and the bound on waits in ms.
_CHANGES: tuple[tuple[str, LiteralString, int], ...] = (
    ("add_index table=items columns=name", "CREATE INDEX ON bench.items (name)", 60),
    ("set_not_null table=items column=value", "ALTER TABLE bench.items ALTER value SET NOT NULL", 30),
    ("add_check table=items name=chk check=value>=0", "ALTER TABLE bench.items ADD CHECK (value >= 0)", 30),
    (
        "add_foreign_key table=items columns=vendor_id references=vendors index=false",
        "ALTER TABLE bench.items ADD FOREIGN KEY (vendor_id) REFERENCES bench.vendors",
        30,
    ),
    ("add_unique table=items columns=number,item_id", "ALTER TABLE bench.items ADD UNIQUE (number, item_id)", 60),
    (
        "add_column table=items column=token type=uuid default=gen_random_uuid() not_null=true",
        "ALTER TABLE bench.items ADD token uuid NOT NULL DEFAULT gen_random_uuid()",
        60,
    ),
    ("rename_column table=items column=name to=title", "ALTER TABLE bench.items RENAME name TO title", 60),
    (
        "change_type table=items column=value type=bigint",
        "ALTER TABLE bench.items ALTER value TYPE bigint",
        60,
    ),
    ("rewrite_table table=items", "VACUUM FULL bench.items", 60),
)


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Make a database of its own for it, and drop it in the end."""
    lab.run("CREATE DATABASE bench_migrations")
    url = make_conninfo(lab.superuser_url, dbname="bench_migrations")
    try:
        async for row in _fan_out(url, lab.folder / "migrations", pace):
            yield row
        async for row in _backfill(url, pace):
            yield row
        async for row in _waits(url, pace):
            yield row
    finally:
        lab.run("DROP DATABASE bench_migrations WITH (FORCE)")


async def _fan_out(url: str, folder: Path, pace: Pace) -> AsyncGenerator[Row]:
    count = _QUICK_SCHEMAS if pace.quick else _SCHEMAS
    schemas = [f"tenant_{number:04}" for number in range(count)]
    folder.mkdir()
    _write(
        folder, 1, "CREATE TABLE items (item_id integer PRIMARY KEY, name text);\nCREATE TABLE plain (version text);"
    )
    await fanout.up(url, files.load(folder), schemas)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE")
    samples: dict[str, list[Sample]] = {"fanout": [], "plain": []}
    idle: list[float] = []
    for number in range(pace.rounds + 1):
        version = number + 2
        _write(folder, version, f"ALTER TABLE items ADD c{version} integer;\nCREATE INDEX i{version} ON items (name);")
        tree = files.load(folder)
        for way in ("fanout", "plain") if number % 2 else ("plain", "fanout"):
            began = time.perf_counter()
            if way == "fanout":
                outcomes = await fanout.up(url, tree, schemas)
                assert not any(one.error for one in outcomes)
            else:
                await _plainly(url, schemas, version)
            if number:
                samples[way].append(Sample(count / (time.perf_counter() - began)))
        began = time.perf_counter()
        assert not any(one.applied for one in await fanout.up(url, tree, schemas))
        idle.append(time.perf_counter() - began)
    what = f"one migration over {count:,} schemas"
    yield compare(NAME, what, samples, figure="fanout", floor="plain", target=Target("≥", 1 / 1.35))
    what = f"nothing pending over {count:,} schemas"
    yield Row(NAME, what, "s", Spread.of(idle), target=Target("≤", 0.1, of="figure"))


def _write(folder: Path, version: int, up: str) -> None:
    text = f"{_HEADER}-- migrate:up\n{up}\n-- migrate:down\nSELECT 1;\n"
    (folder / f"{version:03}_step.sql").write_text(text.replace("2026-01-01", str(date(2026, 1, 1))))


async def _plainly(url: str, schemas: Sequence[str], version: int) -> None:
    """Do the same with one string per schema on four connections, and nothing else."""
    left = iter(schemas)

    async def share() -> None:
        async with await AsyncConnection.connect(url, autocommit=True) as conn:
            for schema in left:
                script = sql.SQL(_PLAIN).format(
                    schema=sql.Identifier(schema), name=sql.Identifier(f"p{version}"), version=sql.Literal(version)
                )
                await conn.execute(script)

    await asyncio.gather(*(share() for _ in range(fanout.CONNECTIONS)))


async def _backfill(url: str, pace: Pace) -> AsyncGenerator[Row]:
    count = _QUICK_ROWS if pace.quick else _ROWS
    rounds = min(pace.rounds, 3)
    samples: dict[str, list[Sample]] = {"online": [], "update": []}
    stalls: dict[str, list[float]] = {"online": [], "update": []}
    beside = ""
    for number in range(rounds):
        for way in ("online", "update") if number % 2 else ("update", "online"):
            _make(url, count, "NULL")
            with updating(url, count, alone_seconds=_alone(pace)) as clients:
                began = time.perf_counter()
                if way == "online":
                    operation = build("backfill", ["table=items", "column=value", "value=number"])
                    await online.run(url, operation, schema="bench")
                else:
                    await _execute(url, "UPDATE bench.items SET value = number WHERE value IS NULL")
                seconds = time.perf_counter() - began
            assert not clients.failed, clients.failed[0]
            samples[way].append(Sample(count / seconds))
            stalls[way].append(clients.worst_ms)
            beside = clients.beside() if way == "online" else beside
            with psycopg.connect(url) as conn:
                assert conn.execute("SELECT count(*) FROM bench.items WHERE value IS NULL").fetchone() == (0,)
    what = f"backfill of {count:,} rows beside a single UPDATE, none left"
    yield compare(NAME, what, samples, figure="online", floor="update", target=Target("≥", 0.9))
    yield _waited(f"longest wait during the backfill of {count:,} rows", stalls["online"], stalls["update"], 60, beside)


def _waited(what: str, figure: Sequence[float], floor: Sequence[float], bound: int, detail: str = "") -> Row:
    ratio = Spread.of([a / max(b, 0.001) for a, b in zip(figure, floor, strict=True)])
    target = Target("≤", bound, of="figure")
    return Row(NAME, what, "ms", Spread.of(figure), Spread.of(floor), ratio, target, detail)


async def _waits(url: str, pace: Pace) -> AsyncGenerator[Row]:
    count = _QUICK_ROWS if pace.quick else _FULL_ROWS if pace.full else _ROWS
    for words, statement, bound in _CHANGES:
        name, *arguments = words.split(" ")
        online_ms: list[float] = []
        plain_ms: list[float] = []
        details: list[float] = []
        beside = ""
        for _ in range(3 if pace.full else 1):
            _make(url, count, "1")
            with updating(url, count, alone_seconds=_alone(pace)) as clients:
                began = time.perf_counter()
                done = await online.run(url, build(name, arguments), schema="bench")
                if done.state == "expanded":
                    await online.go_on(url, done.operation_id, schema="bench", phase=Phase.CONTRACT)
                details.append(time.perf_counter() - began)
            assert not clients.failed, clients.failed[0]
            online_ms.append(clients.worst_ms)
            beside = clients.beside()
            _make(url, count, "1")
            with updating(url, count) as clients:
                await _execute(url, statement)
            plain_ms.append(clients.worst_ms)
        detail = f"{median(details):.1f} s for {count:,} rows; {beside}"
        yield _waited(f"longest wait during {name}", online_ms, plain_ms, bound, detail)


def _alone(pace: Pace) -> float:
    """Return how long the clients are alone before a change: what they wait then is the machine's."""
    return 20.0 if pace.full else 1.0 if pace.quick else 5.0


def _make(url: str, count: int, value: LiteralString) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(sql.SQL(_ITEMS).format(rows=sql.Literal(count), value=sql.SQL(value)))
        conn.execute("VACUUM ANALYZE bench.items")
        conn.execute("CHECKPOINT")


async def _execute(url: str, statement: LiteralString) -> None:
    async with await AsyncConnection.connect(url, autocommit=True) as conn:
        await conn.execute(statement)
