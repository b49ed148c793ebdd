"""What the control database knows of moves: their states, and how to write the next one.

Standard: §7.2 Tenant-Based Sharding
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import LiteralString
from uuid import UUID

from cloudlab.postgres.pool import Pools
from cloudlab.postgres.transaction import Transaction


class MoveState(StrEnum):
    """How far a move is; up to `following` it can be aborted, from `flipped` on it only goes forward."""

    PLANNED = "planned"
    COPYING = "copying"
    FOLLOWING = "following"
    FLIPPED = "flipped"
    PUBLISHED = "published"
    GRACE = "grace"
    FINISHED = "finished"
    ABORTED = "aborted"


BEFORE_FLIP = (MoveState.PLANNED, MoveState.COPYING, MoveState.FOLLOWING)
UNDER_WAY = (*BEFORE_FLIP, MoveState.FLIPPED, MoveState.PUBLISHED)


@dataclass(frozen=True, slots=True)
class Move:
    """A move of one tenant, as the control database has it on record."""

    move_id: UUID
    tenant_id: UUID
    tenant_name: str
    source: str
    target: str
    source_schema: str
    target_schema: str
    placement: str
    epoch: int
    state: MoveState
    row_count: int
    size_bytes: int
    checked_rows: int | None
    gap_ms: Decimal | None
    last_error: str | None
    created_at: datetime
    flipped_at: datetime | None

    @property
    def changes_shard(self) -> bool:
        """Whether the tenant leaves its shard, or only changes its placement there."""
        return self.source != self.target


At = Callable[[str], None]
"""Is told each point of a move at which the mover could die; tests let it."""


def nowhere(point: str) -> None:
    """Do nothing at a point."""
    del point


@dataclass(slots=True)
class MoveProgress:
    """How far a move is, for whoever watches: rows copied of how many, rows compared, bytes of log not applied."""

    state: MoveState = MoveState.PLANNED
    rows: int = 0
    copied: int = 0
    checked: int = 0
    lag_bytes: int = 0
    waits: list[str] = field(default_factory=list[str])


Told = Callable[[MoveProgress], None]


def untold(progress: MoveProgress) -> None:
    """Tell nobody."""
    del progress


_MOVES: LiteralString = """
    SELECT /* moves.find */ m.move_id, m.tenant_id, coalesce(t.tenant_name, m.tenant_id::text) AS tenant_name,
           s.shard_name AS source, d.shard_name AS target, m.source_schema, m.target_schema, m.placement, m.epoch,
           m.state, m.row_count, m.size_bytes, m.checked_rows, m.gap_ms, m.last_error, m.created_at, m.flipped_at
    FROM cloudlab.moves AS m
    LEFT JOIN cloudlab.tenants AS t ON t.tenant_id = m.tenant_id
    JOIN cloudlab.shards AS s ON s.shard_id = m.source_shard_id
    JOIN cloudlab.shards AS d ON d.shard_id = m.target_shard_id
    WHERE (%(tenant_id)s::uuid IS NULL OR m.tenant_id = %(tenant_id)s::uuid) AND m.state = ANY (%(states)s::text[])
    ORDER BY m.created_at
    """


async def find(
    pools: Pools, url: str, tenant_id: UUID | None = None, states: tuple[MoveState, ...] = UNDER_WAY
) -> list[Move]:
    """Return moves in these states, of one tenant or of all, oldest first. Cost: one round trip."""
    async with pools.transaction(url) as transaction:
        result = await transaction.execute(_MOVES, tenant_id=tenant_id, states=[state.value for state in states])
        return result.rows(_move)


def _move(state: str, **columns: object) -> Move:
    return Move(state=MoveState(state), **columns)  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a tenant is to go, and how it is to live there."""

    shard: str
    schema: str
    placement: str


async def begin(pools: Pools, url: str, tenant_id: UUID, epoch: int, destination: Destination) -> None:
    """Put a new move on record, unless one of this tenant is under way."""
    async with pools.transaction(url) as transaction:
        transaction.queue(
            """
            INSERT /* moves.begin */ INTO cloudlab.moves
                (tenant_id, source_shard_id, target_shard_id, source_schema, target_schema, placement, epoch)
            SELECT t.tenant_id, p.shard_id, s.shard_id, t.schema_name, %(schema)s, %(placement)s, %(epoch)s::integer
            FROM cloudlab.tenants AS t JOIN cloudlab.placements AS p ON p.tenant_id = t.tenant_id,
                 cloudlab.shards AS s
            WHERE t.tenant_id = %(tenant_id)s::uuid AND s.shard_name = %(shard)s
            ON CONFLICT (tenant_id) WHERE state IN ('planned', 'copying', 'following', 'flipped', 'published')
            DO NOTHING
            """,
            tenant_id=tenant_id,
            epoch=epoch,
            shard=destination.shard,
            schema=destination.schema,
            placement=destination.placement,
        )


async def advance(pools: Pools, url: str, move: Move, state: MoveState, error: str | None = None) -> None:
    """Put the next state of a move on record, or why it stopped in this one."""
    async with pools.transaction(url) as transaction:
        transaction.queue(
            """
            UPDATE /* moves.advance */ cloudlab.moves SET state = %(state)s, last_error = %(error)s
            WHERE move_id = %(move_id)s::uuid AND state <> 'aborted'
            """,
            move_id=move.move_id,
            state=state.value,
            error=error,
        )


async def record_size(pools: Pools, url: str, move: Move, rows: int, size_bytes: int) -> None:
    """Put on record how much is to be moved."""
    async with pools.transaction(url) as transaction:
        transaction.queue(
            """
            UPDATE /* moves.record_size */ cloudlab.moves
            SET row_count = %(rows)s::bigint, size_bytes = %(bytes)s::bigint WHERE move_id = %(move_id)s::uuid
            """,
            move_id=move.move_id,
            rows=rows,
            bytes=size_bytes,
        )


async def record_checks(pools: Pools, url: str, move: Move, rows: int, gap_ms: float | None = None) -> None:
    """Put on record how many rows were compared, and for how long writers waited."""
    async with pools.transaction(url) as transaction:
        transaction.queue(
            """
            UPDATE /* moves.record_checks */ cloudlab.moves
            SET checked_rows = %(rows)s::bigint, gap_ms = coalesce(%(gap_ms)s::numeric, gap_ms)
            WHERE move_id = %(move_id)s::uuid
            """,
            move_id=move.move_id,
            rows=rows,
            gap_ms=gap_ms,
        )


def queue_publish(transaction: Transaction, move: Move) -> None:
    """Tell the directory where the tenant lives now, and put that on record."""
    transaction.queue(
        """
        UPDATE /* moves.publish */ cloudlab.placements AS p
        SET shard_id = m.target_shard_id, placement = m.placement, epoch = m.epoch
        FROM cloudlab.moves AS m
        WHERE m.move_id = %(move_id)s::uuid AND p.tenant_id = m.tenant_id AND p.epoch < m.epoch
        """,
        move_id=move.move_id,
    )
    transaction.queue(
        """
        UPDATE /* moves.publish */ cloudlab.tenants AS t SET schema_name = m.target_schema
        FROM cloudlab.moves AS m WHERE m.move_id = %(move_id)s::uuid AND t.tenant_id = m.tenant_id
        """,
        move_id=move.move_id,
    )
    transaction.queue(
        """
        UPDATE /* moves.publish */ cloudlab.moves
        SET state = 'published', flipped_at = coalesce(flipped_at, clock_timestamp()), last_error = NULL
        WHERE move_id = %(move_id)s::uuid
        """,
        move_id=move.move_id,
    )
