"""A session: one tenant, one shard, exactly one transaction.

The tenant, the user and the time limits are set inside the transaction and end with it, so that a pooled connection
carries nothing from one tenant to the next. They travel with BEGIN and the first statement in one round trip.

Standard: §4.1 Row-Level Security (RLS), §9.2 Row-Level Security
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, LiteralString, Protocol, TypeVar
from uuid import UUID

import psycopg

from cloudlab.config import Limits
from cloudlab.crypto import Keyring
from cloudlab.errors import NotFound, from_postgres
from cloudlab.postgres.doorbell import FEED, SAGAS, Bell
from cloudlab.postgres.pool import Pools, ended
from cloudlab.postgres.transaction import Transaction
from cloudlab.postgres.wire import Command, Connection, command
from cloudlab.values import NO_CAUSE, Cause, Event

T = TypeVar("T")


class Listener(Protocol):
    """What wants to write in the transaction of certain events: an inline projection."""

    @property
    def event_types(self) -> frozenset[str]:
        """The types it wants to hear of."""
        ...

    def __call__(self, s: "Session", events: Sequence[Event]) -> Awaitable[None]:
        """Hear of events that this session has appended."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a session acts for: a tenant in the schema and at the epoch of its placement, perhaps one of its users."""

    tenant_id: UUID
    epoch: int
    schema_name: str
    user_id: UUID | None = None
    readonly: bool = False
    cause: Cause = NO_CAUSE


class Session:
    """One tenant's transaction, the first argument of every verb.

    It sees the rows of its tenant only; with a `user_id`, of that user's data only what is theirs. It is made by
    `platform.session(...)`, which commits when its block ends and rolls back when the block raises.
    """

    def __init__(
        self, scope: Scope, transaction: Transaction, listeners: Sequence[Listener], keyring: Keyring | None = None
    ) -> None:
        self.scope = scope
        self.keyring = keyring or Keyring({})
        self._transaction = transaction
        self._listeners = listeners
        self.bells: set[Bell] = set()
        self._metadata: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Session of tenant {self.scope.tenant_id}: {self._transaction!r}>"

    @property
    def tenant_id(self) -> UUID:
        """The tenant this session is bound to."""
        return self.scope.tenant_id

    @property
    def rows_touched(self) -> int:
        """How many rows its statements have returned or changed so far, those that were queued aside."""
        return self._transaction.rows_touched

    @property
    def position(self) -> str:
        """How far the log was when it had committed, for who asked to be told; nothing before that."""
        return self._transaction.position

    @property
    def metadata(self) -> dict[str, str]:
        """What every event appended here says of its cause; made when first asked for, the same ever after."""
        if not self._metadata:
            self._metadata = self.scope.cause.as_metadata(self.scope.user_id)
        return self._metadata

    def queue(self, query: LiteralString, **params: object) -> None:
        """Send a statement with the next one or with COMMIT; it costs no round trip, its error is raised there."""
        self._transaction.queue(query, **params)

    async def execute(self, query: LiteralString, **params: object) -> int:
        """Run a statement and return how many rows it touched. Cost: one round trip."""
        try:
            return (await self._transaction.execute(query, **params)).row_count
        except psycopg.Error as error:
            raise from_postgres(error) from error

    async def fetch(self, make: Callable[..., T], query: LiteralString, **params: object) -> list[T]:
        """Run a statement and build one object from each row's columns. Cost: one round trip."""
        try:
            return (await self._transaction.execute(query, **params)).rows(make)
        except psycopg.Error as error:
            raise from_postgres(error) from error

    async def fetch_tuples(self, query: LiteralString, **params: object) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows as tuples, for who builds many objects at once. Cost: one round trip."""
        try:
            return (await self._transaction.execute(query, **params)).tuples()
        except psycopg.Error as error:
            raise from_postgres(error) from error

    async def fetch_one(self, make: Callable[..., T], query: LiteralString, **params: object) -> T:
        """Run a statement that gives one row. Cost: one round trip.

        Raises:
            NotFound: It gave none; the message names the parameters that were looked for.
        """
        rows = await self.fetch(make, query, **params)
        if not rows:
            wanted = ", ".join(f"{name} {value}" for name, value in params.items())
            raise NotFound(f"there is nothing here with {wanted}")
        return rows[0]

    def because(self, cause: Cause) -> "Session":
        """Return this session as one that writes for another cause; it is the same transaction and ends with it."""
        twin = Session(replace(self.scope, cause=cause), self._transaction, self._listeners, self.keyring)
        twin.bells = self.bells
        return twin

    def note_append(self) -> None:
        """Remember that this transaction appends events, so that the readers of the feed are woken once it commits."""
        self.bells.add(FEED)

    def note_start(self) -> None:
        """Remember that this transaction leaves a saga something to do, so that a worker is woken once it commits."""
        self.bells.add(SAGAS)

    def listens_to(self, event_types: Iterable[str]) -> bool:
        """Say whether an inline projection wants to hear of any of these."""
        return any(not listener.event_types.isdisjoint(event_types) for listener in self._listeners)

    async def announce(self, events: Sequence[Event]) -> None:
        """Hand events appended by this transaction to the inline projections, which write in it too."""
        for listener in self._listeners:
            await listener(self, events)


def _opening(connection: Connection, scope: Scope, limits: Limits) -> list[Command]:
    begin = Command(b"BEGIN READ ONLY" if scope.readonly else b"BEGIN")
    context = command(
        connection,
        """
        SELECT /* session.open */
            set_config('search_path', cloudlab.enter_tenant(
                %(tenant_id)s::uuid, %(user_id)s::uuid, %(epoch)s::integer), true),
            set_config('statement_timeout', %(statement_ms)s, true),
            set_config('lock_timeout', %(lock_ms)s, true),
            set_config('idle_in_transaction_session_timeout', %(idle_ms)s, true)
        """,
        {
            "tenant_id": scope.tenant_id,
            "user_id": scope.user_id,
            "epoch": scope.epoch,
            "statement_ms": str(round(limits.statement_timeout_seconds * 1000)),
            "lock_ms": str(round(limits.lock_timeout_seconds * 1000)),
            "idle_ms": str(round(limits.idle_in_transaction_timeout_seconds * 1000)),
        },
    )
    return [begin, context]


@asynccontextmanager
async def open_session(
    pools: Pools,
    url: str,
    scope: Scope,
    limits: Limits,
    listeners: Sequence[Listener] = (),
    keyring: Keyring | None = None,
    *,
    tell_position: bool = False,
) -> AsyncGenerator[Session]:
    """Open a session on one shard; every error of PostgreSQL comes out as one of CloudLab's.

    Cost: no round trip beyond those of its statements and COMMIT.
    """
    async with pools.connection(url) as connection:
        transaction = Transaction(connection, _opening(connection, scope, limits), scope.schema_name)
        try:
            async with ended(transaction, tell_position=tell_position):
                yield Session(scope, transaction, listeners, keyring)
        except psycopg.Error as error:
            raise from_postgres(error) from error
