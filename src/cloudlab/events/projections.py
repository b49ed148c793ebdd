"""Projections: what reads the feed and keeps something else in step with it.

    InlineProjection   a read model written in the transaction of the event
    ReadModel          one in PostgreSQL, written behind the events: its checkpoint moves in the same transaction
    SqlReadModel       the same by one statement for a whole batch, without the events ever leaving the server
    Projection         anything else, such as ClickHouse or the cache: a batch may come again, so it must not matter

Standard: §3.1 Eventual Consistency (AP from CAP), §1.2 Data Domain Mapping
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import LiteralString

from cloudlab.analytics import Analytics
from cloudlab.cache import Cache
from cloudlab.crypto import Keyring
from cloudlab.session import Session
from cloudlab.values import Event

LANES = 4


@dataclass(frozen=True, slots=True)
class Stores:
    """What a projection outside of PostgreSQL may write to."""

    cache: Cache
    analytics: Analytics
    keyring: Keyring = field(default_factory=lambda: Keyring({}), repr=False)


@dataclass(frozen=True, slots=True)
class InlineProjection:
    """A read model kept in the transaction of its events: `apply(session, events)` runs before COMMIT.

    `tables` are the tables that it alone writes; naming them lets it be rebuilt.
    """

    name: str
    event_types: frozenset[str]
    apply: Callable[[Session, Sequence[Event]], Awaitable[None]]
    tables: tuple[str, ...] = ()

    async def __call__(self, s: Session, events: Sequence[Event]) -> None:
        """Apply those of the events this projection asked for."""
        wanted = [event for event in events if event.event_type in self.event_types]
        if wanted:
            await self.apply(s, wanted)


@dataclass(frozen=True, slots=True)
class ReadModel:
    """A read model of PostgreSQL behind the events: `apply(session, events)` sees each event once, a stream in order.

    The session is bound to one tenant and ends together with the checkpoint. It may write the tables that
    `protect_read_model` opened to workers; `tables` names them, so that the model can be rebuilt beside the live one.
    """

    name: str
    event_types: frozenset[str]
    apply: Callable[[Session, Sequence[Event]], Awaitable[None]]
    tables: tuple[str, ...] = ()
    batch_size: int = 1000
    lanes: int = LANES


@dataclass(frozen=True, slots=True)
class SqlReadModel:
    """A read model kept by one statement for each tenant of a batch.

    The statement reads its events from `batch_events(%(after)s::bigint, %(upto)s::bigint, %(lane)s::integer,
    %(lanes)s::integer, %(event_types)s::varchar[], %(waiting)s::bigint[])`; these are all its parameters.
    """

    name: str
    event_types: frozenset[str]
    statement: LiteralString
    tables: tuple[str, ...] = ()
    batch_size: int = 10_000
    lanes: int = LANES


@dataclass(frozen=True, slots=True)
class Projection:
    """A reader of the feed: `apply(stores, events)` must give the same result when a batch comes again.

    `tables` are those of ClickHouse that it alone writes; naming them lets it be rebuilt. After a batch a lane rests
    for `rest_seconds`, so that more comes together: what is slow for each batch, not for each event, wants few.
    """

    name: str
    event_types: frozenset[str]
    apply: Callable[[Stores, Sequence[Event]], Awaitable[None]]
    tables: tuple[str, ...] = ()
    batch_size: int = 1000
    lanes: int = LANES
    rest_seconds: float = 0.0


Following = Projection | ReadModel | SqlReadModel
"""A projection that a worker runs behind the events."""
