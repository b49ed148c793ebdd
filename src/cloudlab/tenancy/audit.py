"""An audit of a shard: the catalog is judged by rule, then every attack is tried on every table, placement and login.

The tables come from the catalog, so a new one is attacked unasked. Nothing is changed: each attempt is rolled back.

Standard: §4.1 Row-Level Security (RLS), §9.2 Row-Level Security
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from psycopg import sql
from psycopg.rows import class_row

from cloudlab.config import ShardConfig
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.schema.postgres import Connection, connect
from cloudlab.tenancy import session_attacks
from cloudlab.tenancy.arena import Arena, Party, Table, Verdict
from cloudlab.tenancy.attacks import ATTACKS, OWNER_ATTACK, Attack, Outcome
from cloudlab.tenancy.policies import Breach, lint


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attack, where it was tried, as which placement's tenant, by which login, and what became of it."""

    attack: str
    place: str
    placement: str
    login: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found on one shard."""

    shard: str
    breaches: list[Breach] = field(default_factory=list[Breach])
    attempts: list[Attempt] = field(default_factory=list[Attempt])

    @property
    def is_leaking(self) -> bool:
        """Whether an attack worked or the catalog breaks a rule."""
        return bool(self.breaches) or any(attempt.verdict is Verdict.LEAKED for attempt in self.attempts)


SESSION_ATTACKS = {
    "other roles": "a login becomes the owner, the worker, or a role that sees everything",
    "functions": "a function returns rows of another tenant",
    "views": "a view shows rows of another tenant",
    "new objects": "a login makes objects that shadow the platform's own",
    "forged context": "SQL injected into a session names another tenant: see docs/guides/security.md",
}


def meanings() -> dict[str, str]:
    """Return what each attack would mean if it worked, by its name, in the order they are tried."""
    return {attack.name: attack.meaning for attack in (*ATTACKS, OWNER_ATTACK)} | SESSION_ATTACKS


async def audit(shard: ShardConfig, *, tenant_id: UUID | None = None, only: Collection[str] | None = None) -> Audit:
    """Try to reach one tenant's rows from another's session in every way this module knows.

    Args:
        shard: Which shard; its app, readonly, worker and owner logins are used.
        tenant_id: Who attacks; by default one tenant of each placement on the shard.
        only: Names of attacks, those of `meanings()`; by default all.

    Raises:
        Unavailable: The shard cannot be reached.

    Cost: about 1 ms an attempt; some 2,000 attempts for each attacking tenant.
    """
    found = Audit(shard.name, await lint(shard.urls.owner_url))
    names = frozenset(meanings() if only is None else only)
    async with connect(shard.urls.worker_url) as worker:
        parties = await _parties(worker)
        for attacker in _attackers(parties, tenant_id):
            victims = [party for party in parties if party.tenant_id != attacker.tenant_id]
            for victim in _one_of_each(victims):
                tables = await _tables(worker, attacker, victim)
                found.attempts.extend(await _attack(shard, attacker, victim, tables, names))
    return found


async def _parties(worker: Connection) -> list[Party]:
    async with worker.cursor(row_factory=class_row(Party)) as cursor:
        await cursor.execute(
            """
            SELECT /* audit.parties */ t.tenant_id, t.tenant_name AS name, t.schema_name, t.epoch
            FROM cloudlab.tenant_local AS t
            WHERE t.state = 'open'
            ORDER BY t.created_at, t.tenant_id
            """
        )
        return await cursor.fetchall()


def _one_of_each(parties: Sequence[Party]) -> list[Party]:
    """Take one tenant in the shared tables and one in a schema of its own, as far as there are any."""
    shared = [party for party in parties if party.schema_name == SHOP_SCHEMA]
    alone = [party for party in parties if party.schema_name != SHOP_SCHEMA]
    return [*shared[:1], *alone[:1]]


def _attackers(parties: Sequence[Party], tenant_id: UUID | None) -> list[Party]:
    if tenant_id is None:
        return _one_of_each(parties)
    return [party for party in parties if party.tenant_id == tenant_id]


async def _tables(worker: Connection, attacker: Party, victim: Party) -> list[Table]:
    """Return every table with a tenant_id that either may meet, each with a row of the victim's, if it has one."""
    rows = await worker.execute(
        """
        SELECT /* audit.tables */ n.nspname::text, c.relname::text, c.relispartition,
            ARRAY(SELECT a.attname::text FROM pg_attribute AS a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
                  ORDER BY a.attnum),
            EXISTS (SELECT FROM pg_policy AS p WHERE p.polrelid = c.oid AND c.relowner = ANY (p.polroles)
                    AND pg_get_expr(p.polqual, c.oid) = 'true'),
            has_table_privilege(c.oid, 'SELECT')
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND has_schema_privilege(n.oid, 'USAGE')
          AND EXISTS (SELECT FROM pg_attribute AS a
                      WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
          AND (n.nspname = ANY (%s) OR NOT EXISTS
               (SELECT FROM cloudlab.tenant_local AS t WHERE t.schema_name = n.nspname))
        ORDER BY 1, 2
        """,
        [[attacker.schema_name, victim.schema_name]],
    )
    found: list[Table] = []
    for schema, name, is_partition, columns, owner_may_read, may_read in await rows.fetchall():
        table = Table(schema, name, tuple(columns), owner_may_read)
        row = await _row_of(worker, table, victim) if may_read and not is_partition else None
        found.append(Table(schema, name, tuple(columns), owner_may_read, row))
    return found


async def _row_of(worker: Connection, table: Table, victim: Party) -> dict[str, Any] | None:
    """Read one row of the victim's as the worker, who sees all tenants by its own policy."""
    look = sql.SQL("SELECT /* audit.tables */ to_jsonb(t) FROM {} AS t WHERE t.tenant_id = {} LIMIT 1")
    cursor = await worker.execute(look.format(table.identifier, sql.Literal(str(victim.tenant_id))))
    row = await cursor.fetchone()
    return dict(row[0]) if row else None


async def _attack(
    shard: ShardConfig, attacker: Party, victim: Party, tables: Sequence[Table], names: frozenset[str]
) -> list[Attempt]:
    found: list[Attempt] = []
    for login, url in (("app", shard.urls.app_url), ("readonly", shard.urls.readonly_url)):
        async with connect(url) as conn:
            arena = Arena(conn, login, attacker, victim)
            for attack in ATTACKS:
                if attack.name in names:
                    found += [await _try(arena, attack, table) for table in tables if attack.suits(arena, table)]
            found += await _session(arena, tables, names)
    if OWNER_ATTACK.name in names:
        async with connect(shard.urls.owner_url) as conn:
            arena = Arena(conn, "owner", None, victim)
            found += [await _try(arena, OWNER_ATTACK, table) for table in tables if table.victim]
    return found


async def _try(arena: Arena, attack: Attack, table: Table) -> Attempt:
    verdict, detail = await attack.run(arena, table)
    return Attempt(attack.name, table.label, _placement(arena), arena.login, verdict, detail)


async def _session(arena: Arena, tables: Sequence[Table], names: frozenset[str]) -> list[Attempt]:
    tried: dict[str, Callable[[], Awaitable[list[tuple[str, Outcome]]]]] = {
        "other roles": lambda: session_attacks.other_roles(arena),
        "functions": lambda: session_attacks.functions(arena),
        "views": lambda: session_attacks.views(arena),
        "new objects": lambda: session_attacks.new_objects(arena),
        "forged context": lambda: session_attacks.forged_context(arena, tables),
    }
    return [
        Attempt(name, place, _placement(arena), arena.login, verdict, detail)
        for name, run in tried.items()
        if name in names
        for place, (verdict, detail) in await run()
    ]


def _placement(arena: Arena) -> str:
    schemas = (arena.attacker.schema_name if arena.attacker else "", arena.victim.schema_name)
    kinds = ["row" if schema == SHOP_SCHEMA else "schema" for schema in schemas if schema]
    return " against ".join(kinds)
