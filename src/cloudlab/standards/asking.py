"""Asking a server about the queries of an application: whether they prepare, and whether an index serves them.

Nothing is executed: PREPARE parses a statement against the schema, EXPLAIN of it plans it, with parameters whose values
nobody knows, and with sequential scans made so dear that one is left only where no index is of use.

Standard: §5.2 Query Patterns
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from cloudlab.standards import checking
from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.reading import Connection, connect
from cloudlab.standards.rule import Answer, Scan
from cloudlab.standards.scripts import Script, Statement
from cloudlab.standards.trees import relations

_MANY_SCHEMAS = 50
_NUMBER = re.compile(r"\$(\d+)")
_NAMED = re.compile(r"sqlc\.n?arg\(\s*'?(\w+)'?\s*\)|(?<![\w@<>!=*/~&|#%^+'\"-])@([A-Za-z_]\w*)")
_EMBEDDED = re.compile(r"sqlc\.embed\(\s*(\w+)\s*\)")


def queries(scripts: Sequence[Script]) -> list[Statement]:
    """Return the statements of files that are queries and stand there as a whole."""
    migrations = {id(script) for script in checking.migrations_of(scripts)}
    return [
        statement
        for script in scripts
        if id(script) not in migrations and not checking.is_foreign(script)
        for statement in script.statements
        if statement.kind in checking.QUERIES and not statement.problem and not statement.is_piece
    ]


async def ask(url: str, statements: Sequence[Statement], catalog: Catalog, wanted: Catalog) -> Mapping[int, Answer]:
    """Return the server's answers by the id() of a statement; none for one about tables that are not there.

    Args:
        url: Of the database.
        statements: What to ask about.
        catalog: The schema of the database.
        wanted: What the migrations make that were given besides; a table that has other columns there is on its way.

    Raises:
        Unavailable: The database cannot be reached.

    Cost: five round trips for each statement, in a session that reads only.
    """
    answers: dict[int, Answer] = {}
    async with connect(url) as conn:
        conn.prepare_threshold = None  # psycopg's own would be forgotten with ours
        await conn.execute(
            "SET lock_timeout = '1s'; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan"
        )
        for statement in statements:
            schemas = _schemas(statement, catalog, wanted)
            if schemas:
                path = sql.SQL(", ").join(map(sql.Identifier, [*schemas, *_others(catalog, schemas)]))
                await conn.execute(sql.SQL("SET search_path = {}").format(path))
                answers[id(statement)] = await _answer(conn, statement, catalog)
    return answers


def _schemas(statement: Statement, catalog: Catalog, wanted: Catalog) -> list[str]:
    """Return the schemas whose tables a statement means; none when one of its tables is not known."""
    assert statement.node is not None
    named = list(relations(statement.node))
    if not named or any(one.schemaname and (one.schemaname, one.relname) not in catalog.tables for one in named):
        return []
    plain = {one.relname for one in named if not one.schemaname}
    found = [catalog.tables[one.schemaname, one.relname] for one in named if one.schemaname]
    schemas = list(dict.fromkeys(table.schema for table in found))
    for name in sorted(plain):
        # Of tenants that all have it, any one; the one that has the others too before the rest.
        places = sorted(catalog.tables.named(name), key=lambda table: (_rank(table, plain, catalog), table.schema))
        if not places:
            return []
        found.append(places[0])
        schemas.append(places[0].schema)
    return [] if any(_is_on_its_way(table, wanted) for table in found) else list(dict.fromkeys(schemas))


def _rank(table: Table, names: set[str], catalog: Catalog) -> int:
    return -sum((table.schema, name) in catalog.tables for name in names)


def _is_on_its_way(table: Table, wanted: Catalog) -> bool:
    other = wanted.tables.get(table.key) or wanted.find("", table.name)
    return other is not None and set(other.columns) != set(table.columns)


def _others(catalog: Catalog, but: Sequence[str]) -> list[str]:
    """Return more schemas for functions and types: what is in none of them is nowhere."""
    names = [name for name in catalog.schemas if name not in but]
    return sorted(names, key=lambda name: name != "public")[:_MANY_SCHEMAS]


async def _answer(conn: Connection, statement: Statement, catalog: Catalog) -> Answer:
    prepare = sql.SQL("PREPARE cloudlab_asked AS ") + sql.SQL(with_numbers(statement.text))  # pyright: ignore[reportArgumentType]
    try:
        await conn.execute(prepare)
        # ON CONFLICT looks for its index only here.
        return Answer(scans=tuple(_scans(await _plan(conn), catalog)))
    except psycopg.Error as error:
        return Answer(error.diag.message_primary or str(error), error.sqlstate or "")
    finally:
        await conn.execute("DEALLOCATE ALL")


def with_numbers(text: str) -> str:
    """Write the parameters of sqlc as PostgreSQL's: @name, sqlc.arg(name), and sqlc.embed(t) as the columns it is."""
    numbers: dict[str, int] = {}
    first = max((int(found) for found in _NUMBER.findall(text)), default=0) + 1

    def number(found: re.Match[str]) -> str:
        return f"${numbers.setdefault(found[1] or found[2], len(numbers) + first)}"

    return _EMBEDDED.sub(r"\1.*", _NAMED.sub(number, text))


async def _plan(conn: Connection) -> dict[str, Any]:
    rows = await conn.execute(
        """
        SELECT /* asking.parameters */ cardinality(s.parameter_types) AS count
        FROM pg_prepared_statements AS s WHERE s.name = 'cloudlab_asked'
        """
    )
    row = await rows.fetchone()
    nulls = sql.SQL(", ").join([sql.NULL] * (row["count"] if row else 0))
    given = sql.SQL("({})").format(nulls) if row and row["count"] else sql.SQL("")
    query = sql.SQL("EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE cloudlab_asked{}").format(given)
    explained = await (await conn.execute(query)).fetchone()
    return explained["QUERY PLAN"][0]["Plan"] if explained else {}


def _scans(plan: Mapping[str, Any], catalog: Catalog, *, limited: bool = False) -> Iterator[Scan]:
    """Yield the nodes of a plan that read all of a table for a few rows; one that stops early may do so on purpose."""
    kind = plan.get("Node Type", "")
    is_whole = kind == "Seq Scan" or (kind in {"Index Scan", "Index Only Scan"} and not limited)
    table = catalog.tables.get((plan.get("Schema", ""), plan.get("Relation Name", "")))
    if is_whole and table and plan.get("Filter") and not plan.get("Index Cond"):
        yield Scan(table, float(plan["Plan Rows"]), plan["Filter"])
    for inner in plan.get("Plans", ()):
        yield from _scans(inner, catalog, limited=limited or kind == "Limit")
