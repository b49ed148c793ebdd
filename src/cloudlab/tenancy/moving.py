"""Asking for moves: where a tenant may go, what that would take, and who carries it there.

Standard: §7.2 Tenant-Based Sharding, §7.2 Geographic Sharding, §4.1 Tenant-Specific Schemas
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg

from cloudlab.config import Config
from cloudlab.errors import Conflict, InvalidInput, from_postgres
from cloudlab.postgres.pool import Pools
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.tenancy import fence, move_places, moves, tenants
from cloudlab.tenancy.move import Mover
from cloudlab.tenancy.move_ends import Ends, measure
from cloudlab.tenancy.moves import At, Destination, Move, MoveState, Told, nowhere
from cloudlab.tenancy.tenants import Tenant, shard_config

PLACEMENTS = ("row", "schema", "database")


@dataclass(frozen=True, slots=True)
class MovePlan:
    """What a move would take: from where to where, how much, and what is in the way."""

    tenant_name: str
    source: str
    target: str
    placement: str
    source_schema: str
    target_schema: str
    tables: int
    rows: int
    size_bytes: int
    in_the_way: list[str]


class Moves:
    """The moves of an installation: planning, running, aborting and finishing them."""

    def __init__(self, config: Config, pools: Pools) -> None:
        self._config = config
        self._pools = pools

    async def move(
        self,
        tenant: Tenant,
        *,
        to_shard: str | None = None,
        placement: str | None = None,
        may_leave_region: bool = False,
        gentle: bool = True,
        told: Told | None = None,
        at: At = nowhere,
    ) -> Move:
        """Move a tenant online, or go on with a move of it that was interrupted.

        Args:
            tenant: Whom.
            to_shard: Where to; by default it stays on its shard and only its placement changes.
            placement: `row`, `schema`, or `database`: alone on its shard; by default as it lives now.
            may_leave_region: Whether it may go to a shard of another region.
            gentle: Rest after each chunk for as long as it took, so that others do not feel it; the move takes longer.
            told: Told of the progress.
            at: Told each point at which the mover could die.

        Raises:
            InvalidInput: It lives there already, or may not go there.
            Conflict: Another move of it is under way, elsewhere; or something is in the way, and the message says what.
            TimedOut: It could not be fenced; nothing was flipped. The same call tries again and copies nothing twice.
            Unavailable: A server is away; the same call goes on.
            InvariantBroken: The copy differs from the original; nothing was flipped.

        Standard: §7.2 Tenant-Based Sharding
        """
        url = self._config.control.owner_url
        under_way = await moves.find(self._pools, url, tenant.tenant_id)
        if under_way:
            _same_goal(under_way[0], to_shard, placement)
        else:
            tenant = await tenants.find(self._pools, self._config, tenant.tenant_id)
            goal = await self._destination(tenant, to_shard, placement, may_leave_region=may_leave_region)
            await moves.begin(self._pools, url, tenant.tenant_id, tenant.epoch + 1, goal)
        return await Mover(self._pools, self._config, tenant.tenant_id, told, at, gentle=gentle).run()

    async def abort(self, tenant: Tenant, at: At = nowhere) -> Move:
        """Undo a move that has not flipped; the copy is dropped, the source serves on. May be repeated.

        Raises:
            Conflict: There is none, or it has passed the point of no return.
        """
        return await Mover(self._pools, self._config, tenant.tenant_id, at=at).abort()

    async def finish(self, tenant: Tenant) -> int:
        """Delete what a tenant's moves have left at their sources, in bounded batches; return how many rows."""
        return await Mover(self._pools, self._config, tenant.tenant_id).finish()

    async def carry_on(self, *, grace: timedelta) -> int:
        """Go on with moves whose mover died behind the flip, and clear the sources of old ones; return how many.

        A move that a living process is at work on is left to it.

        Args:
            grace: For how long a source keeps what was moved away.
        """
        now, done = datetime.now(UTC), 0
        for move in await self.list(None, *moves.UNDER_WAY, MoveState.GRACE):
            mover = Mover(self._pools, self._config, move.tenant_id)
            try:
                if move.state != MoveState.GRACE:
                    done += await mover.go_forward()
                elif move.flipped_at is None or move.flipped_at + grace < now:
                    await mover.finish()
                    done += 1
            except Conflict:
                continue  # another process has it
        return done

    async def list(self, tenant: Tenant | None = None, *states: MoveState) -> list[Move]:
        """Return the moves of a tenant or of all, oldest first: those under way, or those in these states."""
        which = states or moves.UNDER_WAY
        return await moves.find(self._pools, self._config.control.owner_url, tenant and tenant.tenant_id, which)

    async def plan(
        self,
        tenant: Tenant,
        *,
        to_shard: str | None = None,
        placement: str | None = None,
        may_leave_region: bool = False,
    ) -> MovePlan:
        """Say what a move would take, and change nothing. Arguments and errors are those of `move`.

        Cost: reads all rows of the tenant once.
        """
        goal = await self._destination(tenant, to_shard, placement, may_leave_region=may_leave_region)
        urls = [shard_config(self._config, shard).urls.owner_url for shard in (tenant.shard, goal.shard)]
        try:
            async with Ends(urls[0], urls[1], _imagined(tenant, goal)) as ends:
                tables = await ends.tables()
                rows, size = await measure(ends, tables)
                way = await _in_the_way(ends, tenant)
        except psycopg.Error as error:
            raise from_postgres(error) from error
        return MovePlan(
            tenant.tenant_name, tenant.shard, goal.shard, goal.placement, tenant.schema_name, goal.schema,
            len(tables), rows, size, way,
        )  # fmt: skip

    async def _destination(
        self, tenant: Tenant, to_shard: str | None, placement: str | None, *, may_leave_region: bool
    ) -> Destination:
        """Decide where a tenant would go, and refuse what cannot be."""
        if tenant.state != "open":
            raise Conflict(f"tenant {tenant.tenant_name} is {tenant.state}", hint="Create it again: that finishes it.")
        shard = shard_config(self._config, to_shard or tenant.shard)
        wanted = placement or tenant.placement
        if wanted not in PLACEMENTS:
            raise InvalidInput(f"{wanted!r} is not a placement", hint=f"Choose one of {', '.join(PLACEMENTS)}.")
        if shard.name == tenant.shard and wanted == tenant.placement:
            raise InvalidInput(f"tenant {tenant.tenant_name} lives on {shard.name} as {wanted} already", hint="")
        if shard.region != tenant.region and not may_leave_region:
            raise InvalidInput(
                f"{shard.name} stands in {shard.region}, the data of {tenant.tenant_name} is kept in {tenant.region}",
                hint="Say so if it may leave its region: --leave-region.",
            )
        others = [each for each in await tenants.list_all(self._pools, self._config) if each.shard == shard.name]
        others = [each for each in others if each.tenant_id != tenant.tenant_id]
        if others and (wanted == "database" or any(each.placement == "database" for each in others)):
            raise InvalidInput(
                f"{shard.name} holds {others[0].tenant_name}: a tenant of placement database is alone on its shard",
                hint="Name a shard that is empty.",
            )
        if wanted != "schema":
            return Destination(shard.name, SHOP_SCHEMA, wanted)
        # A name that this database never had: what a connection has prepared names the types of a schema that is gone.
        own = f"tenant{tenant.epoch + 1}_{tenant.tenant_name.replace('-', '_')}"
        return Destination(shard.name, own, wanted)


def _same_goal(move: Move, to_shard: str | None, placement: str | None) -> None:
    if to_shard not in {None, move.target} or placement not in {None, move.placement}:
        raise Conflict(
            f"tenant {move.tenant_name} is moving to {move.target} ({move.placement}) already",
            hint=f"Finish that with `cloudlab tenant move {move.tenant_name} --to {move.target}`, or --abort it.",
        )


async def _in_the_way(ends: Ends, tenant: Tenant) -> list[str]:
    try:
        await move_places.can_move(ends.source, ends.target)
        await fence.refuse_unready(ends.source, tenant.tenant_id)
    except Conflict as error:
        return [f"{error.message}. {error.hint}"]
    return []


def _imagined(tenant: Tenant, goal: Destination) -> Move:
    nobody = UUID(int=0)
    return Move(
        nobody, tenant.tenant_id, tenant.tenant_name, tenant.shard, goal.shard, tenant.schema_name, goal.schema,
        goal.placement, tenant.epoch + 1, MoveState.PLANNED, 0, 0, None, None, None, datetime.now(UTC), None,
    )  # fmt: skip
