"""Moving a tenant online: from shard to shard, or between placements, while it works.

    planned ─ copying ─ following ─┤ flip ├─ flipped ─ published ─ grace ─ finished
        └────────┴──────────┴─ aborted

Each state stands in the control database and each step finds what it has done already, so the same command goes on
after whatever was killed. The point of no return is one transaction on the source: its own row `tenant_local` says that
the tenant has moved. Before it the source serves on as if nothing was; after it there is only forward.

Standard: §7.2 Tenant-Based Sharding
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final
from uuid import UUID, uuid4

import psycopg
from psycopg import sql

from cloudlab.config import Config
from cloudlab.errors import CloudLabError, CommitUnknown, Conflict, TimedOut, from_postgres
from cloudlab.postgres.pool import Pools, secure
from cloudlab.postgres.wire import Connection
from cloudlab.tenancy import fence, move_ends, move_places, moves
from cloudlab.tenancy.move_ends import Chase, Ends
from cloudlab.tenancy.move_log import Key, following
from cloudlab.tenancy.move_rows import FULL_SPEED, GENTLE, Applier, compare_range, copy_all, next_key
from cloudlab.tenancy.move_tables import Table, compare
from cloudlab.tenancy.moves import BEFORE_FLIP, At, Move, MoveProgress, MoveState, Told, nowhere, untold
from cloudlab.tenancy.tenants import shard_config

_TRIES_TO_BE_ALONE: Final = 10
_PAUSE_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 60.0
_FENCE_PATIENCE_SECONDS: Final = 60.0
_MARK_SECONDS: Final = 10.0
_FENCED_MARK_SECONDS: Final = 0.1
_FEW_KEYS: Final = 300
_ROUNDS_FOR_SUSPECTS: Final = 5


class Mover:
    """Carries one move through its states; several may try, one at a time does it."""

    def __init__(
        self, pools: Pools, config: Config, tenant_id: UUID, told: Told | None = None, at: At = nowhere, *,
        gentle: bool = True,
    ) -> None:  # fmt: skip
        self._pools = pools
        self._config = config
        self._tenant_id = tenant_id
        self._told = told or untold
        self._at = at
        self._pace = GENTLE if gentle else FULL_SPEED
        self._alone: Connection | None = None
        self.progress = MoveProgress()

    @property
    def _control(self) -> str:
        return self._config.control.owner_url

    def _url(self, shard: str) -> str:
        return shard_config(self._config, shard).urls.owner_url

    async def run(self) -> Move:
        """Carry the tenant's move to its grace period; go on where the last attempt stopped.

        A server that is away is waited for, a minute long.

        Raises:
            Conflict: Another process carries it, or something is in the way that waiting does not mend.
            TimedOut: The tenant could not be fenced; nothing was flipped, the copy is kept.
            Unavailable: A server is away.
            InvariantBroken: Source and target differ. Nothing was flipped.
        """
        async with self._only_one():
            return await self._to_its_end(await self._load())

    async def go_forward(self) -> bool:
        """Carry a move that has flipped to its grace period; False for one that may still be aborted, which is left.

        The shard's own row says whether it has flipped; the directory may not know. Errors as of `run`.
        """
        async with self._only_one():
            move = await self._load()
            async with Ends(self._url(move.source), self._url(move.target), move) as ends:
                if move.state in BEFORE_FLIP and not await _has_flipped(ends.source, move):
                    return False
            await self._to_its_end(move)
            return True

    async def _to_its_end(self, move: Move) -> Move:
        while move.state in moves.UNDER_WAY:
            move = await self._patiently(move)
        return move

    async def abort(self) -> Move:
        """Undo a move that has not flipped: the source serves on, the copy is dropped.

        Raises:
            Conflict: It has flipped: it only goes forward, run it again; or there is none.
        """
        async with self._only_one():
            move = await self._load()
            async with Ends(self._url(move.source), self._url(move.target), move) as ends:
                if move.state not in BEFORE_FLIP or await _has_flipped(ends.source, move):
                    raise Conflict("the move has passed the point of no return", hint="Run it again: it goes forward.")
                await move_ends.announce(ends.source, move, leaving=False)
                await move_places.drop_replication(ends.source, move)
                self._at("aborting: log dropped")
                await ends.clear_target()
                await move_places.close_transfers(ends.source, move)
                await move_places.close_transfers(ends.target, move)
            self._at("aborting: cleared")
            await moves.advance(self._pools, self._control, move, MoveState.ABORTED)
            return replace(move, state=MoveState.ABORTED)

    async def finish(self) -> int:
        """End the grace period: delete at the source what was moved away; return how many rows. May be repeated."""
        deleted = 0
        async with self._only_one():
            for move in await moves.find(self._pools, self._control, self._tenant_id, (MoveState.GRACE,)):
                deleted += await move_ends.clear_source(self._url(move.source), move)
                await moves.advance(self._pools, self._control, move, MoveState.FINISHED)
        return deleted

    @asynccontextmanager
    async def _only_one(self) -> AsyncGenerator[None]:
        try:
            await self._be_alone()
            yield
        finally:
            if self._alone and not self._alone.closed:
                with contextlib.suppress(psycopg.OperationalError):
                    await self._alone.execute("SELECT /* move.only_one */ pg_advisory_unlock_all()")
                await self._alone.close()

    async def _be_alone(self) -> None:
        """Take the lock of the tenant's moves, or make sure of it: it is lost when the control database restarts.

        Raises:
            Conflict: Another process has it.
        """
        if self._alone:
            try:
                await self._alone.execute("SELECT /* move.be_alone */")
            except psycopg.OperationalError:
                await self._alone.close()
            else:
                return
        self._alone = await Connection.connect(secure(self._control), autocommit=True)
        for _ in range(_TRIES_TO_BE_ALONE):
            found = await self._alone.execute(
                "SELECT /* move.be_alone */ pg_try_advisory_lock(20545, hashtext(%s))", [str(self._tenant_id)]
            )
            if (await found.fetchone() or (False,))[0]:
                return
            # One that was killed leaves when its server notices.
            await asyncio.sleep(_PAUSE_SECONDS)
        raise Conflict("another process is moving this tenant", hint="Wait for it; `cloudlab shard list`.")

    async def _load(self) -> Move:
        found = await moves.find(self._pools, self._control, self._tenant_id)
        if not found:
            raise Conflict("no move of this tenant is under way", hint="cloudlab tenant move NAME --to SHARD")
        return found[0]

    async def _patiently(self, move: Move) -> Move:
        """Carry a move one state on; wait for servers that are away, and put on record why it stops."""
        deadline, pause = 0.0, 0.1
        while True:
            try:
                await self._be_alone()
                await self._step(move)
                self._at(f"left {move.state}")
                return (await moves.find(self._pools, self._control, self._tenant_id, tuple(MoveState)))[-1]
            except (psycopg.Error, CloudLabError) as error:
                cause = error
            stopped = cause if isinstance(cause, CloudLabError) else from_postgres(cause)
            deadline = deadline or time.monotonic() + _PATIENCE_SECONDS
            may_pass = stopped.retryable or isinstance(stopped, CommitUnknown)
            if not may_pass or isinstance(stopped, TimedOut) or time.monotonic() > deadline:
                with contextlib.suppress(CloudLabError):
                    await moves.advance(self._pools, self._control, move, move.state, repr(stopped)[:1000])
                raise stopped from cause
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  jitter, not a secret
            pause = min(pause * 2, 2.0)

    async def _step(self, move: Move) -> None:
        self._tell(state=move.state, rows=move.row_count)
        async with Ends(self._url(move.source), self._url(move.target), move) as ends:
            if move.state is MoveState.PUBLISHED:
                await self._settle(ends, move)
            elif await _has_flipped(ends.source, move):
                await self._go_forward(ends, move)
            elif move.state is MoveState.PLANNED:
                await self._prepare(ends, move)
            elif not await move_places.has_slot(ends.source, move):
                await self._start_over(ends, move)
            elif move.state is MoveState.COPYING:
                await self._copy(ends, move)
            else:
                await self._follow(ends, move)

    def _tell(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self.progress, name, value)
        self._told(self.progress)

    async def _prepare(self, ends: Ends, move: Move) -> None:
        await move_places.can_move(ends.source, ends.target)
        await fence.refuse_unready(ends.source, move.tenant_id)
        await ends.clear_target()
        self._at("preparing: target cleared")
        await move_places.open_transfers(ends.source, ends.target, move)
        await fence.refuse_unready(ends.source, move.tenant_id)
        await move_places.make_room(ends.target, self._url(move.target), move)
        self._at("preparing: room made")
        tables = await ends.tables()
        if move.changes_shard:
            await move_places.make_months(ends.source, ends.target)
        await move_places.publish_changes(ends.source, move, tables)
        self._at("preparing: log kept")
        rows, size = await move_ends.measure(ends, tables)
        await moves.record_size(self._pools, self._control, move, rows, size)
        await moves.advance(self._pools, self._control, move, MoveState.COPYING)

    async def _start_over(self, ends: Ends, move: Move) -> None:
        """The log was not kept, so the copy cannot be brought up to date: what there is of it is dropped."""
        await move_places.drop_replication(ends.source, move)
        await ends.target.execute(
            "UPDATE /* move.start_over */ cloudlab.tenant_transfers SET progress = '{}' WHERE move_id = %s",
            [move.move_id],
        )
        await moves.advance(self._pools, self._control, move, MoveState.PLANNED)

    async def _copy(self, ends: Ends, move: Move) -> None:
        tables = await ends.tables()
        route = await ends.route()

        def told(rows: int) -> None:
            self._tell(copied=self.progress.copied + rows)
            self._at("copying: chunk")

        await copy_all(ends.another_source, ends.another_target, route, tables, told, self._pace)
        for table in tables:
            await ends.target.execute(sql.SQL("ANALYZE {}").format(table.target(move.target_schema)))
        await moves.advance(self._pools, self._control, move, MoveState.FOLLOWING)

    async def _follow(self, ends: Ends, move: Move) -> None:
        tables = await ends.tables()
        route = await ends.route()
        slot = move_places.slot_name(move)
        known = {(table.schema, table.name): table for table in tables}
        async with following(self._url(move.source), slot, f"{slot},{slot}_events", known) as log:
            chase = Chase(ends, route, tables, log, Applier(route, tables))
            await chase.applier.warm(ends.source, ends.target)
            if move.changes_shard:
                await move_ends.announce(ends.source, move, leaving=True)
            await self._catch_up(chase, move)
            self._at("following: caught up")
            suspects = await self._verify(chase)
            self._at("following: verified")
            await moves.record_checks(self._pools, self._control, move, self.progress.checked)
            await self._cross(chase, move, suspects)

    async def _catch_up(self, chase: Chase, move: Move) -> None:
        """Apply what has changed until little is left."""
        while True:
            await chase.to_mark(_MARK_SECONDS)
            applied = await chase.apply()
            self._tell(lag_bytes=await move_places.lag_bytes(chase.ends.source, move))
            if applied < _FEW_KEYS:
                return

    async def _verify(self, chase: Chase) -> dict[Table, set[Key]]:
        """Compare everything, chunk by chunk; return the rows that were changing all the while.

        Raises:
            InvariantBroken: A row differs that nobody has changed.
        """
        suspects: dict[Table, set[Key]] = {}
        for table in chase.tables:
            above: Key | None = None
            while True:
                began = time.monotonic()
                upto = await next_key(chase.ends.source, chase.route, table, above, self._pace.chunk_rows)
                found = await compare_range(chase.ends.source, chase.ends.target, chase.route, table, above, upto)
                if found.keys:
                    suspects.setdefault(table, set()).update(found.keys)
                self._tell(checked=self.progress.checked + found.rows)
                await chase.apply()
                await asyncio.sleep((time.monotonic() - began) * self._pace.rest)
                if upto is None:
                    break
                above = upto
        for _ in range(_ROUNDS_FOR_SUSPECTS):
            await chase.to_mark(_MARK_SECONDS)
            await chase.apply()
            suspects = await chase.still_differ(suspects)
            if not suspects:
                return {}
        return suspects

    async def _cross(self, chase: Chase, move: Move, suspects: dict[Table, set[Key]]) -> None:
        """Fence the tenant and flip it; what does not succeed within moments is given up and tried again later."""
        deadline = time.monotonic() + _FENCE_PATIENCE_SECONDS
        ends = chase.ends
        async with await ends.another_source() as holder, await ends.another_source() as watcher:
            while True:
                await chase.to_mark(_MARK_SECONDS)
                await chase.apply()
                patience = fence.patience(len(self.progress.waits))
                try:
                    await self._cross_once(chase, suspects, holder, watcher, deadline, patience)
                except (TimedOut, TimeoutError) as error:
                    if time.monotonic() > deadline:
                        raise error if isinstance(error, TimedOut) else TimedOut("the log is too far behind") from error
                    self.progress.waits.append(str(error) or "the log was too far behind")
                else:
                    return
                await asyncio.sleep(random.uniform(0.1, 0.4))  # noqa: S311  jitter, not a secret

    async def _cross_once(
        self,
        chase: Chase,
        suspects: dict[Table, set[Key]],
        holder: Connection,
        watcher: Connection,
        deadline: float,
        patience: float,
    ) -> None:
        ends, move = chase.ends, chase.ends.move
        if move.changes_shard:
            await fence.readers_are_near(watcher, move.tenant_id, deadline, patience)
        compare(chase.tables, await ends.target_tables())
        await self._be_alone()
        await move_ends.rehearse(holder, ends.target, move)
        mark = uuid4().hex
        passed = chase.log.expect(mark)
        fenced = fence.fenced(
            holder,
            watcher,
            move.tenant_id,
            deadline,
            chase.keeping_up,
            catch_up=patience if move.changes_shard else None,
            mark=mark,
        )
        async with self._pools.transaction(self._control) as control:
            await control.execute("SELECT /* move.cross */ 1 AS ready")
            async with fenced as holding:
                self._at("fenced")
                await chase.complete(passed, _FENCED_MARK_SECONDS, suspects)
                self._at("before the flip")
                said = await move_ends.flip(holder, move)
                self._at("flipped")
                await move_ends.open_target(ends.target, move, *said)
            gap_ms = (time.monotonic() - holding.since) * 1000
            # The directory is a hint: whoever comes to the source is told the way there.
            self._at("opened")
            moves.queue_publish(control, move)
        self._at("published")
        await move_ends.hand_over(ends, move)
        await moves.record_checks(self._pools, self._control, move, self.progress.checked, gap_ms)

    async def _go_forward(self, ends: Ends, move: Move) -> None:
        """Finish what was flipped: the target is opened and the directory told, however often."""
        await moves.advance(self._pools, self._control, move, MoveState.FLIPPED)
        await move_ends.open_target(ends.target, move, *await move_ends.last_words(ends.source, move))
        self._at("opened")
        async with self._pools.transaction(self._control) as control:
            moves.queue_publish(control, move)
        await move_ends.hand_over(ends, move)

    async def _settle(self, ends: Ends, move: Move) -> None:
        """Drop what the move needed; the rows of the source stay for a while, as a tombstone that can be read."""
        await move_places.drop_replication(ends.source, move)
        self._at("settling: log dropped")
        await move_places.close_transfers(ends.source, move)
        await move_places.close_transfers(ends.target, move)
        await moves.advance(self._pools, self._control, move, MoveState.GRACE)


async def _has_flipped(source: Connection, move: Move) -> bool:
    local = await move_places.home(source, move)
    return local is not None and local.epoch == move.epoch
