"""Run the steps of an operation forward or back, from where the journal says it stands.

Standard: §6.2 Zero-Downtime Migrations
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import psycopg

from cloudlab.errors import CloudLabError, MigrationError, from_postgres
from cloudlab.schema.locks import Connection
from cloudlab.schema.online_batches import Paused, Throttle, Walk
from cloudlab.schema.online_journal import Journal, OperationState, OperationStatus
from cloudlab.schema.online_locks import Courtesy, Locking
from cloudlab.schema.online_steps import Kind, Lock, Phase, Step

_INVALID = """
    SELECT /* online_running.invalid */ i.indisvalid FROM pg_index AS i WHERE i.indexrelid = to_regclass(%s)
"""


@dataclass(frozen=True, slots=True)
class Note:
    """What just happened or is about to: which step of how many, and for batches the rows done."""

    step: str
    number: int
    steps: int
    text: str
    rows_done: int = 0
    rows_total: int = 0


@dataclass(frozen=True, slots=True)
class Manners:
    """How an operation behaves to those who use the tables, and who is told what it does."""

    courtesy: Courtesy = field(default_factory=Courtesy)
    throttle: Throttle = field(default_factory=Throttle)
    told: Callable[[Note], None] | None = None


class Running:
    """One operation on its way."""

    def __init__(self, conn: Connection, journal: Journal, entry: OperationStatus, manners: Manners) -> None:
        self._conn, self._journal, self._entry, self._manners = conn, journal, entry, manners
        self._steps = entry.steps
        self._done = entry.steps_done
        self._step = self._steps[min(self._done, len(self._steps) - 1)] if self._steps else None
        self._rows = 0
        self._total = 0

    async def forward(self, phase: Phase) -> None:
        """Do the steps of this phase that are left.

        Raises:
            MigrationError: A statement was refused; run it again when the cause is gone, or roll it back.
            TimedOut: Locks were not to be had.
        """
        last = sum(1 for step in self._steps if phase is Phase.CONTRACT or step.phase is Phase.EXPAND)
        await self._write(phase=phase, state=OperationState.RUNNING, wanted="run", error=None)
        for number in range(self._done, last):
            self._step = self._steps[number]
            await self._guarded(self._forward)
        done = last == len(self._steps)
        await self._finish(OperationState.DONE if done else OperationState.EXPANDED)

    async def back(self) -> None:
        """Take back the steps that were done, the last one first.

        Raises:
            MigrationError: Contract has begun; what it dropped is gone.
        """
        if any(step.phase is Phase.CONTRACT for step in self._steps[: self._done]):
            raise MigrationError(
                f"{self._entry.operation} {self._entry.operation_id} has contracted; that cannot be taken back",
                hint="Write a new operation that makes what you need.",
            )
        await self._write(phase=Phase.ROLLBACK, state=OperationState.RUNNING, wanted="run", error=None)
        # A step outside of a transaction may have been half done when its process died.
        half = self._done < len(self._steps) and self._steps[self._done].kind is Kind.ALONE
        for number in range(self._done + half - 1, -1, -1):
            self._step = self._steps[number]
            self._done = number
            await self._guarded(self._back)
        await self._finish(OperationState.ROLLED_BACK)

    async def _finish(self, state: OperationState) -> None:
        finished = "now" if state is not OperationState.EXPANDED else None
        await self._write(state=state, finished_at=finished)
        self._tell(str(state))

    async def _guarded(self, act: Callable[[Step], Awaitable[None]]) -> None:
        """Do or undo the step; what goes wrong is written into the journal."""
        assert self._step
        step = self._step
        self._tell("begins")
        try:
            await act(step)
        except Paused:
            await self._write(state=OperationState.PAUSED)
            raise MigrationError(
                f"{self._entry.operation} {self._entry.operation_id} was paused in {step.name!r}",
                hint="It goes on with `cloudlab online resume`, or when it is run again.",
            ) from None
        except (psycopg.Error, CloudLabError) as error:
            if self._conn.closed:
                raise
            said = error if isinstance(error, CloudLabError) else from_postgres(error)
            await self._write(state=OperationState.FAILED, error=said.message)
            if isinstance(error, CloudLabError):
                raise
            raise MigrationError(
                f"{self._entry.operation} {self._entry.operation_id}, step {step.name!r}: {said.message}",
                hint=said.hint or "Mend the cause and run it again, or roll it back.",
                details=said.details,
            ) from error

    async def _forward(self, step: Step) -> None:
        number = self._done + 1
        if step.kind is Kind.TRANSACTION:
            await self._in_transaction(step.sql, step.locks, number)
        elif step.kind is Kind.ALONE:
            await self._alone(step.sql, step.index)
            await self._write(steps_done=number, step_name=step.name)
        else:
            await self._walk(step)
            await self._write(steps_done=number, step_name=step.name, next_block=0)
        self._done = number
        self._tell("done")

    async def _back(self, step: Step) -> None:
        if step.kind is Kind.ALONE:
            await self._alone(step.undo, step.index)
            await self._write(steps_done=self._done, step_name=step.name, next_block=0)
        else:
            await self._in_transaction(step.undo, step.undo_locks or step.locks, self._done)
        self._tell("taken back")

    async def _in_transaction(self, statements: Sequence[str], locks: Sequence[Lock], done: int) -> None:
        assert self._step
        name = self._step.name

        async def work() -> None:
            # In one piece: locks are held for the work, not for the way to and fro between its statements.
            async with self._conn.pipeline():
                for statement in statements:
                    self._tell("statement")
                    await self._conn.execute(statement.encode())
            await self._write(steps_done=done, step_name=name, next_block=0)
            self._tell("commit")

        locking = Locking(self._conn, self._manners.courtesy, self._tell)
        await locking.run(f"{self._entry.operation}: {name}", locks if statements else (), work)

    async def _alone(self, statements: Sequence[str], index: str) -> None:
        """Run what may not stand in a transaction; an index that is there and valid is not made again."""
        for statement in statements:
            if index and statement.startswith("CREATE"):
                row = await (await self._conn.execute(_INVALID, [index])).fetchone()
                if row and row[0]:
                    continue
                if row:
                    self._tell("an invalid index is dropped")
                    await self._conn.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index}".encode())
            self._tell("statement")
            await self._conn.execute(statement.encode())

    async def _walk(self, step: Step) -> None:
        estimate = "SELECT /* online_running.walk */ reltuples::bigint FROM pg_class WHERE oid = %s::regclass"
        row = await (await self._conn.execute(estimate, [step.walks])).fetchone()
        self._total = max(0, int(row[0])) if row else 0
        entry = await self._journal.get(self._entry.operation_id)
        await self._write(step_name=step.name, rows_total=self._total)
        walk = Walk(self._conn, self._journal, entry.operation_id, self._manners.throttle, self._tell)

        def tell(text: str) -> None:
            self._rows = walk.done
            self._tell(text)

        walk.told = tell
        await walk.run(step, entry.next_block, entry.rows_done)

    async def _write(self, **values: object) -> None:
        await self._journal.write(self._entry.operation_id, **values)

    def _tell(self, text: str) -> None:
        if self._manners.told and self._step:
            note = Note(self._step.name, self._done + 1, len(self._steps), text, self._rows, self._total)
            self._manners.told(note)
