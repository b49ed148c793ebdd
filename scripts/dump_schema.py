"""Write today's schema, as the servers themselves describe it, to docs/reference/schema/.

    scripts/dump_schema.py            write control.sql, shard.sql and clickhouse.sql
    scripts/dump_schema.py --check    write nothing; exit 1 with a diff when they are not today's schema

A schema in which tenants could meet is refused either way: a table without its policy fails here.

It starts servers of its own, migrates them, and deletes them. pg_dump describes a schema in its own version's way, so
the PostgreSQL must be the bundled one. The partitions of cloudlab.events are left out: which there are depends on the
date.
"""

import argparse
import asyncio
import contextlib
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg

from cloudlab.embedded import clickhouse as embedded_clickhouse
from cloudlab.embedded import postgres as embedded_postgres
from cloudlab.embedded.accounts import unprivileged
from cloudlab.embedded.postgres import find_binaries
from cloudlab.embedded.postgres_logins import CONTROL_DATABASE, LOGINS, provision
from cloudlab.errors import EmbeddedError, InvariantBroken
from cloudlab.schema import clickhouse, migrate, runner
from cloudlab.schema.files import Tree, load_tree
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.schema.postgres import PLATFORM_SCHEMA
from cloudlab.tenancy import policies

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference" / "schema"
MAJOR = 18
_PASSWORD = "not-a-secret"  # noqa: S105 - of a server that lives for seconds
_SHARD = "us_east_001"
# Tokens that pg_dump makes up anew each time, and the minor versions of server and program.
_NOISE = re.compile(r"^(\\(un)?restrict .*|-- Dumped (from|by) .*)\n", re.MULTILINE)
_PARTITIONS = """
    SELECT c.oid::regclass::text
    FROM pg_partition_tree(to_regclass('cloudlab.events')) AS t
    JOIN pg_class AS c ON c.oid = t.relid
    WHERE t.level > 0
"""


def main() -> int:
    """Write the dumps, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 with a diff when they differ")
    check = parser.parse_args().check
    try:
        dumps = {**dump_postgres(), "clickhouse.sql": dump_clickhouse()}
    except InvariantBroken as error:
        sys.stderr.write(f"{error.message}:\n{error.details}\n")
        return 1
    differences = [difference for name, text in dumps.items() for difference in _differences(FOLDER / name, text)]
    if check:
        sys.stdout.writelines(differences)
        if differences:
            sys.stderr.write("docs/reference/schema is not today's schema; run scripts/dump_schema.py\n")
        return bool(differences)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in dumps.items():
        (FOLDER / name).write_text(text)
    return 0


def _differences(file: Path, text: str) -> list[str]:
    committed = file.read_text() if file.exists() else ""
    lines = (committed.splitlines(keepends=True), text.splitlines(keepends=True))
    return list(difflib.unified_diff(*lines, f"{file.name} (committed)", f"{file.name} (today)"))


def dump_postgres() -> dict[str, str]:
    """Return the dumps of a migrated control database and of a migrated shard."""
    if find_binaries().version != MAJOR:
        raise EmbeddedError(
            f"the dump is made by PostgreSQL {MAJOR}, but {find_binaries().bin_dir} is {find_binaries().full_version}",
            hint="Unset CLOUDLAB_PG_BIN.",
        )
    with embedded_postgres.temporary() as server:
        provision(server.url("template1"), [_SHARD], dict.fromkeys(LOGINS, _PASSWORD))
        control, shard = (server.url(name, "cloudlab_owner", _PASSWORD) for name in (CONTROL_DATABASE, _SHARD))
        asyncio.run(_migrate(control, shard))
        if breaches := asyncio.run(policies.lint(shard)):
            raise InvariantBroken(
                "tenants are not separated",
                details="\n".join(f"{breach.place}: {breach.message}. {breach.remedy}" for breach in breaches),
            )
        return {"control.sql": _pg_dump(control), "shard.sql": _pg_dump(shard)}


async def _migrate(control: str, shard: str) -> None:
    await migrate.up(control, load_tree(Tree.CONTROL), PLATFORM_SCHEMA)
    await migrate.up(shard, load_tree(Tree.SHARD), PLATFORM_SCHEMA)
    await migrate.up(shard, load_tree(Tree.TENANT), SHOP_SCHEMA)


def _pg_dump(url: str) -> str:
    binaries = find_binaries()
    with psycopg.connect(url) as conn:
        partitions = [f"--exclude-table={row[0]}" for row in conn.execute(_PARTITIONS)]
    command = [binaries.program("pg_dump"), "--schema-only", "--no-owner", *partitions, f"--dbname={url}"]
    done = subprocess.run(command, env=binaries.environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise EmbeddedError("pg_dump failed", details=done.stderr)
    return re.sub(r"\n{3,}", "\n\n", _NOISE.sub("", done.stdout)).strip("\n") + "\n"


def dump_clickhouse() -> str:
    """Return the CREATE statements of a migrated ClickHouse database, by name."""
    with _clickhouse() as (server, url):

        def ask(statement: str) -> str:
            return embedded_clickhouse.call(server.port, _PASSWORD, statement)

        asyncio.run(_migrate_clickhouse(url))
        database = embedded_clickhouse.DATABASE
        names = [name for name in ask(f"SHOW TABLES FROM {database}").split("\n") if not name.startswith(".")]
        creates = [ask(f"SHOW CREATE TABLE {database}.`{name}` FORMAT TSVRaw") for name in sorted(names)]
    return "".join(f"{create};\n\n" for create in creates).rstrip("\n") + "\n"


async def _migrate_clickhouse(url: str) -> None:
    async with clickhouse.connect(url) as store:
        await runner.up(store, load_tree(Tree.CLICKHOUSE))


@contextlib.contextmanager
def _clickhouse() -> Iterator[tuple[embedded_clickhouse.ClickHouseServer, str]]:
    account, folder = unprivileged(), Path(tempfile.mkdtemp(prefix="cloudlab-"))
    try:
        if account:
            os.chown(folder, account.uid, account.gid)
        server = embedded_clickhouse.start(folder, log=folder / "log", password=_PASSWORD, account=account)
        try:
            yield server, server.url(_PASSWORD)
        finally:
            embedded_clickhouse.stop(folder, server.mark)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
