"""The checker: files a CPU second, one small file, a database of many tenants.

CLOUDLAB_BENCH_SQUAWK names the program squawk to measure beside it, CLOUDLAB_BENCH_MIGRATIONS a folder of real files.
"""

import atexit
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from benchmarks.lab import Lab
from benchmarks.measure import Pace, Row, Spread, Target
from cloudlab.standards.files import sql_files

NAME = "check"
METHOD = (
    "files per CPU second of a whole process `cloudlab check` on a folder of migrations; floors: a process that only "
    "parses them, and squawk (CLOUDLAB_BENCH_SQUAWK) on the same files; the same again, from kept results, by the "
    "clock; seconds of one small file, whole process; "
    "seconds of all rules on a database of 1,000 tenant schemas of 20 tables"
)
FILES, SCHEMAS, TABLES = 1_000, 1_000, 20
_CHECK = "import sys; from cloudlab.cli.main import main; sys.argv[0] = 'cloudlab'; main()"
_PARSE = (
    "import pathlib, sys, postgast\nfor path in pathlib.Path(sys.argv[1]).rglob('*.sql'):\n"
    "    try: postgast.parse(path.read_text(errors='replace'))\n    except postgast.PgQueryError: pass\n"
)
_TABLE = """-- Migration: Table {n}
CREATE TABLE table_{n} (
    tenant_id uuid NOT NULL, table_{n}_id uuid NOT NULL, name varchar(100) NOT NULL, amount numeric(19,4),
    status varchar(20) DEFAULT 'new' NOT NULL, created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT pk_table_{n} PRIMARY KEY (tenant_id, table_{n}_id),
    CONSTRAINT chk_table_{n}_status CHECK (status IN ('new', 'old'))
);
CREATE INDEX idx_table_{n}_created_at ON table_{n} (created_at);
COMMENT ON TABLE table_{n} IS 'Table number {n}';
"""
_CHANGE = """SET lock_timeout = '100ms';
ALTER TABLE table_{m} ADD COLUMN note_{n} text;
ALTER TABLE table_{m} ADD CONSTRAINT chk_table_{m}_{n} CHECK (amount >= {n}) NOT VALID;
CREATE INDEX CONCURRENTLY idx_table_{m}_note_{n} ON table_{m} (note_{n});
"""


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Measure a generated corpus, a given one, one file, and a large database."""
    corpora = {"generated": _corpus(lab.folder / "corpus", FILES // 10 if pace.quick else FILES)}
    if given := os.environ.get("CLOUDLAB_BENCH_MIGRATIONS"):
        corpora["given"] = Path(given)
    squawk = os.environ.get("CLOUDLAB_BENCH_SQUAWK", "")
    if not squawk:
        sys.stderr.write("  squawk is not measured: CLOUDLAB_BENCH_SQUAWK names no program\n")
    for name, folder in corpora.items():
        files = [source.path for source in sql_files([folder])]
        floors = {"the parser alone": [sys.executable, "-c", _PARSE, str(folder)]}
        if squawk:
            floors["squawk"] = [squawk, "--pg-version=18", *files]
        for floor, command in floors.items():
            yield _files(f"{len(files)} {name} files, against {floor}", folder, command, len(files), pace)
        if squawk:
            yield _again(f"{len(files)} {name} files again, kept, against squawk", folder, floors["squawk"], pace)
    yield _one_file(lab.folder, pace)
    yield _tenants(lab, pace)


def _corpus(folder: Path, count: int) -> Path:
    folder.mkdir()
    for n in range(1, count + 1):
        text = _TABLE.format(n=n) if n % 3 == 1 else _CHANGE.format(n=n, m=n - (n - 1) % 3)
        (folder / f"{n:05}_change.sql").write_text(text)
    return folder


def _files(what: str, folder: Path, floor: Sequence[str], count: int, pace: Pace) -> Row:
    ours, theirs, walls = list[float](), list[float](), list[float]()
    check = [sys.executable, "-c", _CHECK, "check", "--no-cache", "--format", "json", str(folder)]
    _cost(check)  # compiles the checker, as its installation does
    for _ in range(pace.rounds):
        cpu, wall = _cost(check)
        ours.append(count / cpu)
        walls.append(wall)
        theirs.append(count / _cost(floor)[0])
    ratio = Spread.of([one / other for one, other in zip(ours, theirs, strict=True)])
    target = Target("≥", 0.5) if "given" in what and "squawk" in what else None
    wall = f"{Spread.of(walls).middle:.2f} s wall"
    return Row(NAME, what, "files/CPU s", Spread.of(ours), Spread.of(theirs), ratio, target, wall)


def _again(what: str, folder: Path, floor: Sequence[str], pace: Pace) -> Row:
    """Measure a check of files of which nothing has changed, by the clock."""
    check = [sys.executable, "-c", _CHECK, "check", "--format", "json", str(folder)]
    _cost(check)
    ours, theirs = list[float](), list[float]()
    for _ in range(pace.rounds):
        ours.append(_cost(check)[1])
        theirs.append(_cost(floor)[1])
    ratio = Spread.of([one / other for one, other in zip(ours, theirs, strict=True)])
    return Row(NAME, what, "s wall", Spread.of(ours), Spread.of(theirs), ratio, Target("≤", 1), "whole process")


def _one_file(folder: Path, pace: Pace) -> Row:
    path = folder / "one.sql"
    path.write_text(_TABLE.format(n=1))
    command = [sys.executable, "-c", _CHECK, "check", "--no-cache", str(path)]
    _cost(command)
    seconds = [_cost(command) for _ in range(max(pace.rounds, 3))]
    cpu = f"{Spread.of([cpu for cpu, _ in seconds]).middle:.2f} s CPU"
    walls = Spread.of([wall for _, wall in seconds])
    return Row(NAME, "one small file, whole process", "s", walls, None, None, Target("≤", 0.2, "figure"), cpu)


def _cost(command: Sequence[str]) -> tuple[float, float]:
    """Return the seconds of CPU and of the clock that a process takes; findings are no failure."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, env=_environment())
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


@cache
def _environment() -> dict[str, str]:
    """Return an environment in which Python keeps what it compiles, and the checker its results, in a new folder."""
    folder = mkdtemp(prefix="cloudlab-bench-check-")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {**kept, "PYTHONPYCACHEPREFIX": f"{folder}/compiled", "XDG_CACHE_HOME": f"{folder}/cache"}


def _tenants(lab: Lab, pace: Pace) -> Row:
    """Check a database of its own with the tables of many tenants."""
    schemas = SCHEMAS // 20 if pace.quick else SCHEMAS
    lab.run("CREATE DATABASE bench_check")
    url = make_conninfo(lab.superuser_url, dbname="bench_check")
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            for number in range(schemas):
                connection.execute(_schema(number))
        conninfo = conninfo_to_dict(url)
        query = urlencode({name: value for name, value in conninfo.items() if name != "dbname"})
        command = [sys.executable, "-c", _CHECK, "check", "--format", "json", f"postgresql:///bench_check?{query}"]
        taken = [_cost(command) for _ in range(min(pace.rounds, 3))]
    finally:
        lab.run("DROP DATABASE bench_check (FORCE)")
    what = f"{schemas} tenant schemas of {TABLES} tables"
    cpu = f"whole process, {Spread.of([cpu for cpu, _ in taken]).middle:.1f} s CPU of the client"
    return Row(NAME, what, "s", Spread.of([wall for _, wall in taken]), None, None, Target("≤", 5, "figure"), cpu)


def _schema(number: int) -> sql.Composed:
    schema = sql.Identifier(f"tenant_{number:04}")
    tables = [sql.SQL(_TABLE.format(n=n)) for n in range(1, TABLES + 1)]  # pyright: ignore[reportArgumentType]
    make = sql.SQL("CREATE SCHEMA {schema}; SET search_path = {schema};").format(schema=schema)
    return sql.Composed([make, *tables])
