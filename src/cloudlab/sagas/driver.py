"""One saga in the hands of one worker: forward step by step, or back through the compensations.

What comes next follows from the journal alone, so whoever claims the saga after a crash goes on where it stood. Every
write is refused once the saga has another owner; then this worker lets go of it.

Standard: §3.3 Saga State Management
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from cloudlab.errors import CloudLabError, CommitUnknown, InvalidInput, LeaseLost, TenantSuspended, TimedOut, WrongShard
from cloudlab.events.store import as_json
from cloudlab.sagas.definition import Call, Running, Saga, Sleep, Step, Unit, Wait, may_pass, written
from cloudlab.sagas.history import Claimed, Direction, Entry, History
from cloudlab.sagas.journal import ENDED, MOST_TOGETHER, Sessions, Turn, Write, saga_of, take_turns
from cloudlab.sagas.stretches import Stretch
from cloudlab.sagas.waiting import cause_of, look
from cloudlab.session import Session

FOR_EVER: Final = float("inf")
_SHORT_PAUSE_SECONDS = 0.5
_MOST_ERROR = 2000
_A_CENTURY = timedelta(days=36500)
# The saga is not ours any more, or nobody knows: its lease decides, not another attempt.
_NOT_OURS = (LeaseLost, CommitUnknown, WrongShard, TenantSuspended)

At = Callable[[str, UUID], None]
"""Is told each point of a saga at which a worker could die; tests let it."""


def nowhere(point: str, saga_id: UUID) -> None:
    """Do nothing at a point."""
    del point, saga_id


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an attempt: done, to be tried again after a pause, given up, or the saga was given back."""

    pause: float | None = None
    error: BaseException | None = None
    gave_back: bool = False

    @property
    def gave_up(self) -> bool:
        """Whether there is no sense in trying again."""
        return self.error is not None and self.pause is None


_DONE = Verdict()
_GIVEN_BACK = Verdict(gave_back=True)


class Driver:
    """Drives one claimed saga until it ends, waits, or is lost."""

    def __init__(self, sessions: Sessions, definition: Saga, claimed: Claimed, at: At = nowhere) -> None:
        self.claimed = claimed
        self._sessions = sessions
        self._definition = definition
        self._told = at
        self._history = History.of(claimed)
        self._data: dict[str, Any] = as_mapping(claimed.saga_data)
        self._cause = cause_of(claimed)
        self._one_by_one = 0

    async def run(self) -> None:
        """Go on as far as possible.

        Raises:
            CloudLabError: It is not known what became of a write, or the saga is somebody else's now.
        """
        self._at("claimed")
        if self.claimed.status == "compensating":
            return await self._compensate()
        parts, number = len(self._definition.parts), 0
        while number < parts:
            if together := await self._together(number):
                number += together
                if number == parts:
                    return None  # the last step has completed the saga
            elif await self._advance(number, is_last=number == parts - 1):
                number += 1
            else:
                return None
        return await self._write(Write(*self._me, parts - 1, status="completed", wake=ENDED))

    async def _together(self, number: int) -> int:
        """Run the local steps from here on in one transaction; return how many were done, 0 = go on one by one."""
        if number < self._one_by_one or self._is_overdue(number):
            return 0
        stretch = Stretch.ahead(self._definition, self._history, number, self._running())
        if len(stretch.steps) < 2:
            return 0
        write, parts = Write(*self._me, number), len(self._definition.parts)
        try:
            written = await self._turn(
                Turn(write, lambda s: stretch.run(s, write, parts, self._at, self._is_overdue), self._cause)
            )
        except _NOT_OURS:
            raise
        except Exception:  # noqa: BLE001  nothing was kept: it is raised, and journaled, by the step itself
            self._one_by_one = number + len(stretch.steps)
            return 0
        for entry in written.entries:
            self._history.add(entry)
            self._at(f"journaled:do:{entry.step_type}")
        return len(written.entries)

    def _at(self, point: str) -> None:
        self._told(point, self.claimed.saga_id)

    @property
    def _me(self) -> tuple[UUID, int]:
        return self.claimed.saga_id, self.claimed.epoch

    def _running(self, unit: Unit | None = None, attempt: int = 1) -> Running:
        results = dict(self._history.results)
        item = unit.item if unit else None
        return Running(self.claimed.saga_id, self.claimed.tenant_id, self._data, results, attempt, item)

    async def _advance(self, number: int, *, is_last: bool) -> bool:
        """Bring one part of the definition to its end; False when the saga does not go on from there now."""
        while True:
            try:
                units = self._definition.units(number, self._running())
            except InvalidInput as error:
                await self._turn_back(number, self._definition.parts[number].name, error)
                return False
            pending = [unit for unit in units if not self._history.is_done("do", unit.name)]
            if not pending:
                return True
            if self._is_overdue(number):
                await self._turn_back(number, pending[0].name, TimedOut("the deadline of the saga has passed"))
                return False
            ends = is_last and len(units) == 1
            verdicts = await _all(self._attempt(unit, ends=ends) for unit in pending)
            if any(verdict.gave_back for verdict in verdicts) or (ends and verdicts == [_DONE]):
                return False
            for unit, verdict in zip(pending, verdicts, strict=True):
                if verdict.gave_up and verdict.error:
                    await self._turn_back(number, unit.name, verdict.error)
                    return False
            if not await self._paused(number, [verdict.pause for verdict in verdicts if verdict.pause is not None]):
                return False

    async def _paused(self, number: int, pauses: list[float]) -> bool:
        """Wait a little, or give the saga back until it is due; False when it was given back."""
        if not pauses:
            return True
        pause = self._until_deadline(number, min(pauses))
        if pause <= _SHORT_PAUSE_SECONDS:
            await asyncio.sleep(pause)
            return True
        await self._write(Write(*self._me, number, wake=pause))
        return False

    def _is_overdue(self, number: int) -> bool:
        return self._until_deadline(number, FOR_EVER) <= 0

    def _until_deadline(self, number: int, seconds: float) -> float:
        """Return the shorter of a time and what is left until the deadline, which ends with the pivot."""
        if self.claimed.deadline_at is None or number > self._definition.pivot:
            return seconds
        return min(seconds, max(0.0, (self.claimed.deadline_at - datetime.now(UTC)).total_seconds()))

    async def _attempt(self, unit: Unit, *, ends: bool) -> Verdict:
        if isinstance(unit.what, Step):
            return await self._step(unit, unit.what, "do", ends=ends)
        if isinstance(unit.what, Wait):
            return await self._wait(unit, unit.what, ends=ends)
        return await self._sleep(unit, unit.what, ends=ends)

    async def _step(self, unit: Unit, step: Step, direction: Direction, *, ends: bool = False) -> Verdict:
        record = self._history.of_step(direction, unit.name)
        begun = Entry(unit.number, unit.name, direction, record.attempts + 1, "running", datetime.now(UTC))
        earlier: tuple[Entry, ...] = ()
        if record.interrupted:
            lost = (record.interrupted, "unknown", record.started_at or begun.started_at, begun.started_at)
            earlier = (Entry(unit.number, unit.name, direction, *lost, error="its worker was lost"),)
        try:
            if step.external:
                done = await self._external(unit, step, begun, earlier, ends=ends)
            else:
                done = await self._local(unit, step, begun, ends=ends)
        except _NOT_OURS:
            raise
        except Exception as error:  # noqa: BLE001  whatever a step raises is journaled, and decides what comes next
            return await self._failed(unit, step, begun, error)
        self._history.add(done)
        self._at(f"journaled:{direction}:{unit.name}")
        return _DONE

    async def _local(self, unit: Unit, step: Step, begun: Entry, *, ends: bool) -> Entry:
        running = self._running(unit, begun.attempt)
        function = step.do if begun.direction == "do" else step.undo

        async def work(s: Session) -> Write:
            async with asyncio.timeout(step.timeout.total_seconds()):
                result = written(await cast(Any, function)(s, running))
            self._at(f"before commit:{begun.direction}:{unit.name}")
            status = "completed" if begun.direction == "do" else "compensated"
            return self._closing(unit, (self._ended(begun, status, as_json(result) if result else None),), ends=ends)

        turn = Turn(Write(*self._me, unit.number), work, self._cause)
        return (await self._turn(turn, alone=step.alone)).entries[0]

    async def _external(self, unit: Unit, step: Step, begun: Entry, earlier: tuple[Entry, ...], *, ends: bool) -> Entry:
        """Call out between two writes: what was begun is on record before the call, or nobody could undo it."""
        running = self._running(unit, begun.attempt)
        tenant = await self._sessions.tenant(self.claimed.tenant_id)
        suffix = "" if begun.direction == "do" else ":undo"
        call = Call(
            f"{self.claimed.saga_id}:{unit.name}{suffix}", lambda: self._sessions.session(tenant, cause=self._cause)
        )
        await self._write(Write(*self._me, unit.number, (begun, *earlier)))
        for entry in (*earlier, begun):
            self._history.add(entry)
        self._at(f"begun:{begun.direction}:{unit.name}")
        function = step.do if begun.direction == "do" else step.undo
        async with asyncio.timeout(step.timeout.total_seconds()):
            result = written(await cast(Any, function)(call, running))
        self._at(f"answered:{begun.direction}:{unit.name}")
        status = "completed" if begun.direction == "do" else "compensated"
        entry = self._ended(begun, status, as_json(result) if result else None)
        await self._write(self._closing(unit, (entry,), ends=ends))
        return entry

    def _closing(self, unit: Unit, entries: tuple[Entry, ...], *, ends: bool) -> Write:
        if ends:
            return Write(*self._me, unit.number, entries, status="completed", wake=ENDED)
        return Write(*self._me, unit.number, entries)

    @staticmethod
    def _ended(begun: Entry, status: str, result: str | None = None, error: str | None = None) -> Entry:
        return Entry(
            begun.step_number, begun.step_type, begun.direction, begun.attempt, status, begun.started_at,
            datetime.now(UTC), result, error,
        )  # fmt: skip

    async def _failed(self, unit: Unit, step: Step, begun: Entry, error: Exception) -> Verdict:
        passes = may_pass(error)
        status = "unknown" if step.external and passes else "failed"
        entry = self._ended(begun, status, error=_said(error))
        await self._write(Write(*self._me, unit.number, (entry,)))
        self._history.add(entry, since=self.claimed.resumed_at)
        self._at(f"failed:{begun.direction}:{unit.name}")
        failures = self._history.of_step(begun.direction, unit.name).failures
        pause = step.backoff.pause(max(failures, 1))
        if begun.direction == "undo":
            return Verdict(pause if failures < step.undo_attempts else None, error)
        if unit.number > self._definition.pivot:
            return Verdict(pause if passes or failures < step.attempts else None, error)
        return Verdict(pause if passes and failures < step.attempts else None, error)

    async def _sleep(self, unit: Unit, sleep: Sleep, *, ends: bool) -> Verdict:
        record = self._history.of_step("do", unit.name)
        now = datetime.now(UTC)
        begun = Entry(unit.number, unit.name, "do", 1, "running", record.started_at or now)
        left = (begun.started_at + sleep.duration - now).total_seconds()
        if left > 0:
            pause = self._until_deadline(unit.number, left)
            await self._write(Write(*self._me, unit.number, (begun,), wake=pause))
            return _GIVEN_BACK
        return await self._completed(unit, begun, None, ends=ends)

    async def _completed(self, unit: Unit, begun: Entry, result: str | None, *, ends: bool) -> Verdict:
        entry = self._ended(begun, "completed", result)
        await self._write(self._closing(unit, (entry,), ends=ends))
        self._history.add(entry)
        self._at(f"journaled:do:{unit.name}")
        return _DONE

    async def _wait(self, unit: Unit, wait: Wait, *, ends: bool) -> Verdict:
        record = self._history.of_step("do", unit.name)
        attempt, started = max(record.attempts, 1), record.started_at or datetime.now(UTC)
        if record.status in {"failed", "unknown"}:
            attempt, started = attempt + 1, datetime.now(UTC)
        begun = Entry(unit.number, unit.name, "do", attempt, "running", started)
        left = (started + (wait.timeout or _A_CENTURY) - datetime.now(UTC)).total_seconds()
        pause = self._until_deadline(unit.number, left if wait.timeout else FOR_EVER)
        try:
            happened = await look(
                self._sessions, self.claimed, wait, self._running(), begun, self._closing(unit, (), ends=ends), pause
            )
        except InvalidInput as error:
            return Verdict(error=error)
        if happened is not None:
            self._history.add(happened)
            self._at(f"journaled:do:{unit.name}")
            return _DONE
        if left > 0:
            return _GIVEN_BACK
        error = TimedOut(f"no {wait.event} within {wait.timeout}", hint="")
        entry = self._ended(begun, "failed", error=_said(error))
        await self._write(Write(*self._me, unit.number, (entry,)))
        self._history.add(entry)
        return Verdict(error=error)

    async def _turn_back(self, number: int, name: str, error: BaseException) -> None:
        """Compensate because a step cannot be done; behind the pivot, leave the saga to a human."""
        if number > self._definition.pivot:
            await self._write(Write(*self._me, number, status="failed", wake=ENDED))
            self._at("parked")
            return
        why = {"step": name, "error": _said(error)}
        await self._write(Write(*self._me, number, status="compensating", compensation=why))
        self._at("turned back")
        await self._compensate()

    async def _compensate(self) -> None:
        """Undo, in reverse, what has been done and what may have been done."""
        for number in reversed(range(len(self._definition.parts))):
            for unit in reversed(self._units_begun(number)):
                if not await self._undone(unit):
                    return
        await self._write(Write(*self._me, 0, status="compensated", wake=ENDED))

    def _units_begun(self, number: int) -> list[Unit]:
        try:
            units = self._definition.units(number, self._running())
        except InvalidInput:
            return []  # its list was never made, so it was never reached
        return [unit for unit in units if self._history.of_step("do", unit.name).may_have_happened]

    async def _undone(self, unit: Unit) -> bool:
        step = unit.what
        if not isinstance(step, Step) or step.undo is None:
            return True
        while not self._history.is_done("undo", unit.name):
            verdict = await self._step(unit, step, "undo")
            if verdict.gave_up:
                await self._write(Write(*self._me, unit.number, status="failed", wake=ENDED))
                self._at("parked")
                return False
            if verdict.pause is None:
                continue
            if verdict.pause > _SHORT_PAUSE_SECONDS:
                await self._write(Write(*self._me, unit.number, wake=verdict.pause))
                return False
            await asyncio.sleep(verdict.pause)
        return True

    async def _write(self, write: Write) -> None:
        await self._turn(Turn(write))

    async def _turn(self, turn: Turn, *, alone: bool = False) -> Write:
        tenant = await self._sessions.tenant(self.claimed.tenant_id)
        if alone:
            async with self._sessions.session(tenant, cause=self._cause) as s:
                (done,) = await take_turns(s, [turn])
            return done
        return await self._sessions.combine(tenant, take_turns, turn, key=saga_of, most=MOST_TOGETHER)


async def _all(attempts: Iterable[Coroutine[Any, Any, Verdict]]) -> list[Verdict]:
    """Run attempts side by side to their ends; a lost saga is raised when all have ended."""
    first, *others = attempts
    if not others:
        return [await first]
    tasks = [asyncio.create_task(each) for each in (first, *others)]
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    return [_verdict(outcome) for outcome in outcomes]


def _verdict(outcome: Verdict | BaseException) -> Verdict:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def as_mapping(text: str) -> dict[str, Any]:
    """Read a JSON object."""
    return json.loads(text)


def _said(error: BaseException) -> str:
    text = error.message if isinstance(error, CloudLabError) else str(error)
    return f"{type(error).__name__}: {text}"[:_MOST_ERROR].replace("\x00", "")
