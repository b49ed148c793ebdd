"""The ways out of a session that are not about one table: other roles, functions, views, and a forged context.

Standard: §9.2 Role-Based Access
"""

from collections.abc import Sequence
from typing import Any

from psycopg import sql

from cloudlab.tenancy.arena import Arena, Table, Verdict
from cloudlab.tenancy.attacks import Outcome

_GROUPS = ("application_readonly", "application_readwrite", "application_admin")
# What a function is called with: the victim's id wherever a UUID is wanted, something harmless elsewhere.
_ARGUMENTS = {
    "integer": "1", "bigint": "1", "smallint": "1", "numeric": "1", "double precision": "1", "boolean": "true",
    "text": "x", "character varying": "x", "date": "2026-01-01", "timestamp with time zone": "2026-01-01",
    "interval": "1 second", "jsonb": "{}",
}  # fmt: skip


async def other_roles(arena: Arena) -> list[tuple[str, Outcome]]:
    """Try to become every other role of the server; only the groups of the application may be had."""
    names = await arena.conn.execute(
        """
        SELECT /* session_attacks.other_roles */ r.rolname::text FROM pg_roles AS r
        WHERE r.rolname <> session_user ORDER BY r.rolname
        """
    )
    found: list[tuple[str, Outcome]] = []
    for (name,) in await names.fetchall():
        reply = await arena.strike(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(name)))
        allowed = reply.error is None and name not in _GROUPS
        found.append(
            (str(name), (Verdict.LEAKED, "may become it") if allowed else (Verdict.HELD, "refused or harmless"))
        )
    return found


async def functions(arena: Arena) -> list[tuple[str, Outcome]]:
    """Call every function that this login may call, with the other tenant's id, and search what it returns for it."""
    rows = await arena.conn.execute(
        """
        SELECT /* session_attacks.functions */ n.nspname::text, p.proname::text, p.oid::regprocedure::text, p.proretset,
            coalesce((SELECT array_agg(format_type(t.type, NULL) ORDER BY t.place)
                      FROM unnest(p.proargtypes) WITH ORDINALITY AS t (type, place)), '{}')
        FROM pg_proc AS p
        JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND p.prokind = 'f'
          AND p.prorettype <> 'trigger'::regtype AND p.proname <> 'enter_tenant'
          AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
        ORDER BY 3
        """
    )
    return [(str(row[2]), await _call(arena, row)) for row in await rows.fetchall()]


async def _call(arena: Arena, function: Sequence[Any]) -> Outcome:
    schema, name, _, _, types = function
    victim = str(arena.victim.tenant_id)
    arguments = sql.SQL(", ").join(
        sql.SQL("{}::{}").format(sql.Literal(_argument(kind, victim)), sql.SQL(kind)) for kind in types
    )
    call = sql.SQL("SELECT /* session_attacks.functions */ f::text FROM {}({}) AS f LIMIT 10000")
    reply = await arena.strike(call.format(sql.Identifier(schema, name), arguments))
    told = [row for row in reply.rows if victim in str(row)]
    if told and victim not in str([_argument(kind, "") for kind in types]) and not _echoes(told, types):
        return Verdict.LEAKED, "it returned a row of another tenant"
    return Verdict.HELD, "refused" if reply.error else "nothing of another tenant"


def _argument(kind: str, victim: str) -> str | None:
    if kind in ("uuid", "uuid[]"):
        return victim if kind == "uuid" else f"{{{victim}}}"
    return _ARGUMENTS.get(kind)


def _echoes(told: Sequence[Sequence[Any]], types: Sequence[str]) -> bool:
    """Say whether a function only gives back the id that it was called with, in one row of text."""
    return "uuid" in types and len(told) == 1 and not str(told[0][0]).startswith("(")


async def views(arena: Arena) -> list[tuple[str, Outcome]]:
    """Read every view this login may read, and search it for the other tenant's id."""
    rows = await arena.conn.execute(
        """
        SELECT /* session_attacks.views */ n.nspname::text, c.relname::text
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
          AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
          AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e')
        ORDER BY 1, 2
        """
    )
    found: list[tuple[str, Outcome]] = []
    for schema, name in await rows.fetchall():
        look = sql.SQL("SELECT /* session_attacks.views */ v::text FROM {} AS v LIMIT 10000")
        reply = await arena.strike(look.format(sql.Identifier(schema, name)))
        leaked = str(arena.victim.tenant_id) in reply.said
        outcome = (Verdict.LEAKED, "it shows a row of another tenant") if leaked else (Verdict.HELD, "nothing seen")
        found.append((f"{schema}.{name}", outcome))
    return found


async def forged_context(arena: Arena, tables: Sequence[Table]) -> list[tuple[str, Outcome]]:
    """Overwrite the tenant from within a session, as an SQL injection can: what PostgreSQL lets every statement do."""
    forge = sql.SQL("SELECT /* session_attacks.forged_context */ set_config('app.current_tenant_id', {}, true)").format(
        arena.other
    )
    for table in tables:
        if not table.victim or table.schema_name == "cloudlab":
            continue
        look = sql.SQL("SELECT /* session_attacks.forged_context */ FROM {} WHERE tenant_id = {} LIMIT 1")
        reply = await arena.strike(forge, look.format(table.identifier, arena.other))
        if reply.row_count > 0:
            return [("set_config", (Verdict.KNOWN, "whoever can run any SQL in a session can name another tenant"))]
    return [("set_config", (Verdict.HELD, "a forged tenant shows nothing"))]


async def new_objects(arena: Arena) -> list[tuple[str, Outcome]]:
    """Make a table in each schema of the platform: whoever can, can shadow what its functions name."""
    names = await arena.conn.execute(
        """
        SELECT /* session_attacks.new_objects */ n.nspname::text FROM pg_namespace AS n
        WHERE n.nspname !~ '^(pg_|information_schema)' ORDER BY n.nspname
        """
    )
    found: list[tuple[str, Outcome]] = []
    for (name,) in await names.fetchall():
        reply = await arena.strike(sql.SQL("CREATE TABLE {} (i integer)").format(sql.Identifier(name, "audit_probe")))
        outcome = (Verdict.HELD, "refused") if reply.error else (Verdict.LEAKED, "the login may make tables here")
        found.append((str(name), outcome))
    return found
