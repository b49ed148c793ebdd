"""Where an attack is tried: one login of one shard, as a session of one tenant, against the rows of another.

Every attempt is a transaction that is rolled back, with short time limits, so that an audit of a working shard changes
nothing and holds nobody up.

Standard: §4.1 Row-Level Security (RLS)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.errors import Diagnostic

from cloudlab.schema.postgres import Connection

_DENIED = "42501"


class Verdict(StrEnum):
    """What became of an attempt."""

    HELD = "held"
    LEAKED = "leaked"
    UNPROVEN = "unproven"
    KNOWN = "known"


@dataclass(frozen=True, slots=True)
class Party:
    """A tenant as the shard knows it."""

    tenant_id: UUID
    name: str
    schema_name: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table that holds rows of tenants, or a partition of one; `victim` is another tenant's row of it, if any."""

    schema_name: str
    name: str
    columns: tuple[str, ...]
    owner_may_read: bool
    victim: dict[str, Any] | None = None

    @property
    def label(self) -> str:
        """Its name with its schema."""
        return f"{self.schema_name}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its quoted name."""
        return sql.Identifier(self.schema_name, self.name)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered: the rows, or the error; and every notice on the way."""

    rows: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    row_count: int = 0
    error: psycopg.Error | None = None
    notices: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """The SQLSTATE of the error, or nothing."""
        return (self.error.sqlstate or "08000") if self.error else ""

    @property
    def is_denied(self) -> bool:
        """Whether a grant or a policy refused it; a trigger that refuses has been reached by a row already."""
        return bool(self.error) and self.state == _DENIED and not self.diagnostic.context

    @property
    def diagnostic(self) -> Diagnostic:
        """What PostgreSQL says of the error."""
        return self.error.diag if self.error else psycopg.Error().diag

    @property
    def said(self) -> str:
        """Every text that reached the attacker."""
        return "\n".join([str(self.error or ""), *self.notices, *map(str, self.rows)])


@dataclass(frozen=True, slots=True)
class Arena:
    """A connection of one login, who attacks, and whose rows are not his."""

    conn: Connection
    login: str
    attacker: Party | None
    victim: Party

    async def strike(self, *statements: sql.Composed | LiteralString, params: Sequence[object] = ()) -> Reply:
        """Run statements in a transaction of the attacker's that is rolled back; the last one's answer counts.

        Args:
            statements: What to run; only the last one takes parameters.
            params: Its parameters.
        """
        notices: list[str] = []

        def note(diagnostic: Diagnostic) -> None:
            notices.append(diagnostic.message_primary or "")

        self.conn.add_notice_handler(note)
        try:
            async with self.conn.transaction(force_rollback=True):
                await self.enter(self.attacker)
                *first, last = [sql.SQL(one) if isinstance(one, str) else one for one in statements]
                for statement in first:
                    await self.conn.execute(statement)
                cursor = await self.conn.execute(last, params or None)
                rows = await cursor.fetchall() if cursor.description else []
                return Reply(rows, cursor.rowcount, None, tuple(notices))
        except psycopg.Error as error:
            return Reply(error=error, notices=tuple(notices))
        finally:
            self.conn.remove_notice_handler(note)

    async def enter(self, tenant: Party | None) -> None:
        """Set short limits, and bind the transaction to a tenant as a session of the platform does."""
        await self.conn.execute(
            """
            SELECT /* arena.enter */ set_config('lock_timeout', '200ms', true),
                set_config('statement_timeout', '5s', true)
            """
        )
        if tenant:
            await self.conn.execute(
                """
                SELECT /* arena.enter */ set_config('search_path',
                    cloudlab.enter_tenant(%s::uuid, NULL::uuid, %s::integer), true)
                """,
                [tenant.tenant_id, tenant.epoch],
            )

    @property
    def other(self) -> sql.Literal:
        """The victim's id, as a literal."""
        return sql.Literal(str(self.victim.tenant_id))

    @property
    def own(self) -> sql.Literal:
        """The attacker's id, as a literal."""
        return sql.Literal(str(self.attacker.tenant_id) if self.attacker else None)
