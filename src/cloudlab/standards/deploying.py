"""Migrations beside the database that they are for: what the table of their tool says was applied, what is left.

A folder and a table belong together when most of what was applied is in the folder, by checksum or by name; where
neither is kept, by version, if no other folder could be meant. Alembic keeps one version without an order: left out.

Standard: §6.1 Migration Tracking
"""

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, LiteralString

from psycopg import sql

from cloudlab.standards import safety
from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.folding import fold
from cloudlab.standards.reading import Connection, connect
from cloudlab.standards.rule import Applied, Deployment, Earlier, Step, Work
from cloudlab.standards.scripts import Script
from cloudlab.standards.twins import unread
from cloudlab.standards.versions import Version, series

# A schema for each tenant has a history for each tenant, of which one is read where they are alike; `cloudlab schema
# drift` compares all.
_MANY = 20
_TITLE = re.compile(r"^-- Migration:\s*(.*?)\s*$", re.MULTILINE)
# Tool, its table, columns that only this tool's table has, and those it must not have.
_TOOLS: tuple[tuple[str, str, frozenset[str], frozenset[str]], ...] = (
    ("cloudlab", "schema_migrations", frozenset({"version", "checksum", "running_statement"}), frozenset()),
    ("flyway", "flyway_schema_history", frozenset({"version", "checksum", "script", "success"}), frozenset()),
    ("golang-migrate", "schema_migrations", frozenset({"version", "dirty"}), frozenset()),
    ("goose", "goose_db_version", frozenset({"version_id", "is_applied"}), frozenset()),
    ("dbmate", "schema_migrations", frozenset({"version"}), frozenset({"checksum", "dirty", "inserted_at"})),
)
_QUERIES: dict[str, LiteralString] = {
    "cloudlab": """
        SELECT /* deploying.cloudlab */ h.version, coalesce(h.description, '') AS name, h.checksum,
               h.running_statement IS NULL AS whole
        FROM {} AS h
    """,
    "flyway": """
        SELECT /* deploying.flyway */ h.version, h.script AS name, h.checksum::text, h.success AS whole
        FROM {} AS h WHERE h.version IS NOT NULL AND h.type = 'SQL'
    """,
    "golang-migrate": """
        SELECT /* deploying.golang */ h.version::text, '' AS name, NULL AS checksum, NOT h.dirty AS whole FROM {} AS h
    """,
    "goose": """
        SELECT /* deploying.goose */ h.version_id::text AS version, '' AS name, NULL AS checksum, true AS whole
        FROM (SELECT DISTINCT ON (g.version_id) g.version_id, g.is_applied FROM {} AS g
              ORDER BY g.version_id, g.id DESC) AS h
        WHERE h.is_applied AND h.version_id > 0
    """,
    "dbmate": """
        SELECT /* deploying.dbmate */ h.version::text, '' AS name, NULL AS checksum, true AS whole FROM {} AS h
    """,
}


@dataclass(frozen=True, slots=True)
class _History:
    tool: str
    schema: str
    rows: Sequence[dict[str, Any]]


async def read(url: str, migrations: Sequence[Script], catalog: Catalog) -> Sequence[Deployment]:
    """Return the folders of migrations that a database has a history of; those of nobody else.

    Args:
        url: Of the database.
        migrations: The files, in their order.
        catalog: Its schema; what is still to be applied is folded into it.

    Raises:
        Unavailable: The database cannot be reached.

    Cost: a query for each history, of which few are read.
    """
    places = list(_tables(catalog))
    if not places or len(places) > _MANY:
        return ()
    async with connect(url) as conn:
        histories = [await _history(conn, tool, table) for tool, table in places]
    orders = series(migrations)
    return [found for history in histories if (found := _matched(history, orders, catalog))]


def _tables(catalog: Catalog) -> Iterator[tuple[str, Table]]:
    left_out = {*unread(catalog), *(one.second for one in catalog.twins)}
    for tool, name, has, has_not in _TOOLS:
        for table in catalog.tables.named(name):
            if table.schema not in left_out and has <= table.columns.keys() and not has_not & table.columns.keys():
                yield tool, table


async def _history(conn: Connection, tool: str, table: Table) -> _History:
    query = sql.SQL(_QUERIES[tool]).format(sql.Identifier(*table.key))
    return _History(tool, table.schema, await (await conn.execute(query)).fetchall())


def _matched(history: _History, orders: Sequence[Sequence[Version]], catalog: Catalog) -> Deployment | None:
    found = [(files, applied) for files in orders if (applied := _applied(history, files))]
    if len(found) != 1:
        return None
    files, applied = found[0]
    deployment = Deployment(history.tool, applied, files)
    return replace(deployment, work=tuple(_work(deployment.pending, catalog, history.schema)))


def _applied(history: _History, files: Sequence[Version]) -> list[Applied]:
    """Return what was applied, if these are the files that it was applied from."""
    by_number = {version.numbers: version for version in files}
    applied: list[Applied] = []
    sure = 0
    for row in history.rows:
        if not re.fullmatch(r"\d+(?:[._]\d+)*", row["version"]):
            continue
        numbers = Version(files[0].script, row["version"], ()).numbers
        file = by_number.get(numbers)
        is_same = _is_same(history.tool, row["checksum"], file) if file else None
        sure += file is not None and (row["checksum"] is None or is_same is True or _is_named(row["name"], file))
        applied.append(Applied(row["version"], row["name"], numbers, row["whole"], is_same))
    if history.tool == "golang-migrate" and applied and applied[0].numbers in by_number:
        # It keeps the last version alone.
        before = [Applied(one.written, one.name, one.numbers) for one in files if one.numbers < applied[0].numbers]
        return [*before, applied[0]]
    return applied if sure and sure * 2 >= sum(one.numbers >= files[0].numbers for one in applied) else []


def _is_same(tool: str, checksum: str | None, file: Version) -> bool | None:
    if checksum is None:
        return None
    text = file.script.text
    if tool == "cloudlab":
        return checksum == hashlib.sha256(text.encode()).hexdigest()
    crc = 0
    for line in text.removesuffix("\n").split("\n"):
        crc = zlib.crc32(line.encode(), crc)
    return int(checksum) % 2**32 == crc


def _is_named(name: str, file: Version) -> bool:
    title = _TITLE.search(file.script.text)
    return bool(name) and name.rpartition("/")[2] in {file.name, title[1] if title else None}


def _work(pending: Sequence[Version], catalog: Catalog, schema: str) -> Iterator[Work]:
    """Yield what the statements to come do to tables that are there, each against the schema that it meets."""
    catalog.default_schema = schema
    touched = safety.touched(catalog)
    for version in pending:
        earlier = Earlier()
        for statement in version.script.statements:
            if statement.problem:
                continue
            step = Step(catalog, statement, version.script, earlier)
            for one in touched(step):
                if one.work:
                    yield Work(statement.at, one.table, one.work, safety.size(one.size_bytes), one.seconds, one.waiting)
            fold(catalog, statement, version.script.number)
            earlier.append(statement)
