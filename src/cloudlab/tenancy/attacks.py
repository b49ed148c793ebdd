"""The ways to another tenant's rows of one table, each as a function that tries it and says what became of it.

An attempt that the server refuses, or that finds nothing although the victim has a row there, was held. Where the
victim has no row, nothing is proven. SQL is written out here with psycopg's own composition: the tables come from the
catalog.

Standard: §4.1 Row-Level Security (RLS), §9.2 Row-Level Security
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from cloudlab.tenancy.arena import Arena, Reply, Table, Verdict

Outcome = tuple[Verdict, str]

# A key of these is a number of the shard that no tenant chooses.
_SHARD_NUMBERS = ("event_position",)
_MOST_OWN_CONFLICTS = 4
_FAILED_LATER = ("23502", "23503", "23505", "23514", "23P01", "428C9")


@dataclass(frozen=True, slots=True)
class Attack:
    """One way in: its name, what it would mean if it worked, how it is tried, and whether in one's own schema too."""

    name: str
    meaning: str
    run: Callable[[Arena, Table], Awaitable[Outcome]]
    from_home: bool = False

    def suits(self, arena: Arena, table: Table) -> bool:
        """Say whether there is anything to try: nothing of the victim's stands in the attacker's own schema."""
        home = arena.attacker and arena.attacker.schema_name
        return (
            self.from_home or table.schema_name in (arena.victim.schema_name, "cloudlab") or table.schema_name != home
        )


def _nothing_seen(reply: Reply, table: Table, seen: str) -> Outcome:
    """Judge an attempt to see or touch the victim's rows."""
    if reply.is_denied:
        return Verdict.HELD, "refused"
    if reply.error:
        reached = reply.state == "42501"
        return (Verdict.LEAKED, seen) if reached else (Verdict.UNPROVEN, _first_line(reply))
    if reply.row_count > 0:
        return Verdict.LEAKED, seen
    return (Verdict.HELD, "no rows") if table.victim else (Verdict.UNPROVEN, "no other tenant has a row here")


def _first_line(reply: Reply) -> str:
    return str(reply.error).strip().split("\n")[0]


async def read(arena: Arena, table: Table) -> Outcome:
    """Ask for rows of the other tenant by its id."""
    look = sql.SQL("SELECT /* attacks.read */ FROM {} WHERE tenant_id = {} LIMIT 1")
    return _nothing_seen(await arena.strike(look.format(table.identifier, arena.other)), table, "a row was read")


async def update(arena: Arena, table: Table) -> Outcome:
    """Change a row of the other tenant."""
    change = sql.SQL(
        "UPDATE /* attacks.update */ {0} SET tenant_id = tenant_id WHERE tenant_id = {1} AND ctid = ANY"
        " (ARRAY(SELECT ctid FROM {0} WHERE tenant_id = {1} LIMIT 1))"
    )
    return _nothing_seen(await arena.strike(change.format(table.identifier, arena.other)), table, "a row was changed")


async def delete(arena: Arena, table: Table) -> Outcome:
    """Delete a row of the other tenant."""
    remove = sql.SQL(
        "DELETE /* attacks.delete */ FROM {0} WHERE tenant_id = {1} AND ctid = ANY"
        " (ARRAY(SELECT ctid FROM {0} WHERE tenant_id = {1} LIMIT 1))"
    )
    return _nothing_seen(await arena.strike(remove.format(table.identifier, arena.other)), table, "a row was deleted")


async def plant(arena: Arena, table: Table) -> Outcome:
    """Insert a row that belongs to the other tenant: the policy speaks before any constraint does."""
    reply = await arena.strike(
        sql.SQL("INSERT /* attacks.plant */ INTO {} (tenant_id) VALUES ({})").format(table.identifier, arena.other)
    )
    return _not_written(reply, "a row of another tenant was accepted by the policy")


async def give(arena: Arena, table: Table) -> Outcome:
    """Give a row of one's own to the other tenant."""
    # Without a condition: one that reads the table is held by the policy of reading as well. The first row is refused.
    hand_over = sql.SQL("UPDATE /* attacks.give */ {} SET tenant_id = {}")
    reply = await arena.strike(hand_over.format(table.identifier, arena.other))
    if not reply.error and not reply.row_count:
        return Verdict.UNPROVEN, "the attacker has no row here"
    return _not_written(reply, "a row was given away")


def _not_written(reply: Reply, leaked: str) -> Outcome:
    if reply.state == "42501":
        return Verdict.HELD, "refused"
    if reply.error and (reply.state not in _FAILED_LATER or "no partition of relation" in str(reply.error)):
        return Verdict.UNPROVEN, _first_line(reply)
    return Verdict.LEAKED, leaked


async def copy_out(arena: Arena, table: Table) -> Outcome:
    """Have the other tenant's rows handed out by COPY."""
    statement = sql.SQL(
        "COPY (SELECT /* attacks.copy_out */ tenant_id FROM {} WHERE tenant_id = {} LIMIT 1) TO STDOUT"
    ).format(table.identifier, arena.other)
    received = 0
    try:
        async with arena.conn.transaction(force_rollback=True):
            await arena.enter(arena.attacker)
            async with arena.conn.cursor() as cursor, cursor.copy(statement) as copy:
                async for part in copy:
                    received += len(part)
    except psycopg.Error as error:
        return _nothing_seen(Reply(error=error), table, "")
    return _nothing_seen(Reply(row_count=received), table, "COPY handed out a row")


async def copy_in(arena: Arena, table: Table) -> Outcome:
    """Load a row of the other tenant by COPY; PostgreSQL allows no COPY into a table whose policies bind the role."""
    statement = sql.SQL("COPY {} (tenant_id) FROM STDIN /* attacks.copy_in */").format(table.identifier)
    try:
        async with arena.conn.transaction(force_rollback=True):
            await arena.enter(arena.attacker)
            async with arena.conn.cursor() as cursor, cursor.copy(statement) as copy:
                await copy.write_row([str(arena.victim.tenant_id)])
    except psycopg.Error as error:
        reply = Reply(error=error)
        return (Verdict.HELD, "refused") if reply.state == "0A000" else _not_written(reply, "COPY passed the policy")
    return Verdict.LEAKED, "COPY loaded a row of another tenant"


async def truncate(arena: Arena, table: Table) -> Outcome:
    """Empty the table: no policy is asked, so no role that serves may have the right."""
    reply = await arena.strike(sql.SQL("TRUNCATE /* attacks.truncate */ {}").format(table.identifier))
    # Whatever else stops it (a lock, a reference) comes after the right to do it.
    return (Verdict.HELD, "refused") if reply.is_denied else (Verdict.LEAKED, "the role may TRUNCATE")


async def no_tenant(arena: Arena, table: Table) -> Outcome:
    """Ask without a tenant, on a connection that had one before: what a set_config leaves behind is no tenant."""
    await arena.strike("SELECT /* attacks.no_tenant */ 1")
    nobody = Arena(arena.conn, arena.login, None, arena.victim)
    reply = await nobody.strike(sql.SQL("SELECT /* attacks.no_tenant */ FROM {} LIMIT 1").format(table.identifier))
    if reply.state.startswith("22"):
        return Verdict.LEAKED, f"an error instead of no rows: {_first_line(reply)}"
    return _nothing_seen(reply, table, "rows without a tenant")


async def no_row_security(arena: Arena, table: Table) -> Outcome:
    """Turn row security off: for a role that policies bind, PostgreSQL answers with an error."""
    look = sql.SQL("SELECT /* attacks.no_row_security */ FROM {} WHERE tenant_id = {} LIMIT 1")
    reply = await arena.strike("SET LOCAL row_security = off", look.format(table.identifier, arena.other))
    return _nothing_seen(reply, table, "row_security = off opened the table")


async def leaky_function(arena: Arena, table: Table) -> Outcome:
    """Put a cheap function into the condition that tells what it is called with, hoping to run before the policy."""
    make = """
        CREATE FUNCTION pg_temp.peek(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001
        AS $$ BEGIN RAISE NOTICE '%', $1; RETURN true; END $$
    """
    look = sql.SQL("SELECT /* attacks.leaky_function */ FROM {} WHERE pg_temp.peek(tenant_id::text) LIMIT 50")
    return _not_said(arena, table, await arena.strike(make, look.format(table.identifier)))


async def leaky_operator(arena: Arena, table: Table) -> Outcome:
    """Provoke an error message that quotes the other tenant's value, hoping that it is computed before the policy."""
    look = sql.SQL(
        "SELECT /* attacks.leaky_operator */ FROM {0}"
        " WHERE CASE WHEN tenant_id = {1} THEN (tenant_id::text)::integer = 1 ELSE false END LIMIT 1"
    )
    return _not_said(arena, table, await arena.strike(look.format(table.identifier, arena.other)))


def _not_said(arena: Arena, table: Table, reply: Reply) -> Outcome:
    if str(arena.victim.tenant_id) in reply.said:
        return Verdict.LEAKED, "a message told a value of another tenant"
    if reply.error:
        return (Verdict.HELD, "refused") if reply.is_denied else (Verdict.UNPROVEN, _first_line(reply))
    return (Verdict.HELD, "nothing told") if table.victim else (Verdict.UNPROVEN, "no other tenant has a row here")


async def probe_keys(arena: Arena, table: Table) -> Outcome:
    """Insert a copy of the other tenant's row as one's own: a unique key or a foreign key may tell that it exists."""
    if not table.victim:
        return Verdict.UNPROVEN, "no other tenant has a row here"
    row = table.victim | {"tenant_id": str(arena.attacker.tenant_id) if arena.attacker else None}
    reply = await _insert_copy(arena, table, row)
    for _ in range(_MOST_OWN_CONFLICTS):
        if reply.state != "23505":
            break
        constraint = reply.diagnostic.constraint_name or ""
        columns = await _columns_of(arena, constraint)
        if not columns.intersection(("tenant_id", *_SHARD_NUMBERS)):
            return Verdict.LEAKED, f"{constraint} tells that another tenant has the value"
        # The attacker has such a row itself: the copy must differ from that one to meet the next key.
        row |= {name: f"x{row[name]}" for name in columns if _is_text(row.get(name))}
        reply = await _insert_copy(arena, table, row)
    if not reply.error and (crossed := await _crossing_references(arena, table)):
        return Verdict.LEAKED, f"{crossed} accepts a row of another tenant"
    if reply.error and not (reply.state.startswith("23") or reply.is_denied):
        return Verdict.UNPROVEN, _first_line(reply)
    return Verdict.HELD, "refused" if reply.error else "the keys are the tenant's own"


async def _insert_copy(arena: Arena, table: Table, row: dict[str, Any]) -> Reply:
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    statement = sql.SQL(
        "INSERT /* attacks.probe_keys */ INTO {0} ({1}) OVERRIDING SYSTEM VALUE"
        " SELECT {1} FROM jsonb_populate_record(NULL::{0}, %s)"
    ).format(table.identifier, columns)
    return await arena.strike(statement, params=[Jsonb(row)])


async def _columns_of(arena: Arena, index: str) -> set[str]:
    """Return the columns that an index, perhaps of a partition, is made of: of its expressions and condition too."""
    rows = await arena.conn.execute(
        """
        SELECT /* attacks.probe_keys */ a.attname::text FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indexrelid
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid
        WHERE c.relname = %s
          AND (a.attnum = ANY (i.indkey)
               OR EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.refobjid = i.indrelid
                          AND d.refobjsubid = a.attnum))
        """,
        [index],
    )
    return {str(row[0]) for row in await rows.fetchall()}


def _is_text(value: object) -> bool:
    """Say whether a value can be changed and still be stored: a text, but no UUID."""
    try:
        return isinstance(value, str) and not UUID(value)
    except ValueError:
        return True


async def _crossing_references(arena: Arena, table: Table) -> str:
    rows = await arena.conn.execute(
        """
        SELECT /* attacks.probe_keys */ k.conname FROM pg_constraint AS k
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attname = 'tenant_id'
        JOIN pg_attribute AS b ON b.attrelid = k.confrelid AND b.attname = 'tenant_id'
        WHERE k.contype = 'f' AND k.conrelid = %s::regclass AND NOT a.attnum = ANY (k.conkey)
        """,
        [table.identifier.as_string(arena.conn)],
    )
    found = await rows.fetchone()
    return str(found[0]) if found else ""


async def reused_plan(arena: Arena, table: Table) -> Outcome:
    """Run a statement that the other tenant's session has prepared and planned on this connection."""
    name = sql.Identifier(f"audit_{uuid4().hex}")
    prepare = sql.SQL("PREPARE {} AS SELECT /* attacks.reused_plan */ FROM {} WHERE tenant_id = {} LIMIT 1")
    generic = "SET LOCAL plan_cache_mode = force_generic_plan"
    theirs = Arena(arena.conn, arena.login, arena.victim, arena.victim)
    run = sql.SQL("EXECUTE {}").format(name)
    planned = await theirs.strike(generic, prepare.format(name, table.identifier, arena.other), run)
    if planned.error:
        return _nothing_seen(planned, table, "")
    reply = await arena.strike(generic, run)
    await arena.conn.execute(sql.SQL("DEALLOCATE {}").format(name))
    return _nothing_seen(reply, table, "the plan of another tenant's session showed its row")


async def as_owner(arena: Arena, table: Table) -> Outcome:
    """Look as the owner of the table, whom only FORCE binds."""
    if table.owner_may_read:
        return Verdict.HELD, "a policy lets the owner in, by design"
    return await read(arena, table)


ATTACKS = (
    Attack("read", "a query of one tenant returns rows of another", read),
    Attack("update", "one tenant changes rows of another", update),
    Attack("delete", "one tenant deletes rows of another", delete),
    Attack("plant", "one tenant inserts rows that belong to another", plant, from_home=True),
    Attack("give away", "one tenant hands its rows to another", give, from_home=True),
    Attack("copy out", "COPY TO hands out rows of another tenant", copy_out),
    Attack("copy in", "COPY FROM loads rows of another tenant", copy_in, from_home=True),
    Attack("truncate", "TRUNCATE, which asks no policy, empties the table of all tenants", truncate, from_home=True),
    Attack("no tenant", "a session without a tenant sees rows, or fails instead of seeing none", no_tenant),
    Attack("row security off", "a setting switches the policies off", no_row_security),
    Attack("leaky function", "a function of the attacker's is shown rows before the policy hides them", leaky_function),
    Attack("leaky operator", "an error message quotes a value of another tenant", leaky_operator),
    Attack("probe keys", "a unique or foreign key tells what another tenant has", probe_keys),
    Attack("reused plan", "a plan made for one tenant is run for another", reused_plan),
)
OWNER_ATTACK = Attack("owner", "the owner of the tables is not bound by their policies", as_owner)
