"""What a saga has done so far, as its journal says: the only thing its next step follows from.

Standard: §3.3 Saga State Management
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

Direction = Literal["do", "undo"]

DONE = frozenset({"completed", "skipped", "compensated"})


@dataclass(frozen=True, slots=True)
class Claimed:
    """A saga that this worker holds, as it was when it was claimed; `journal` is JSON, None for a new one."""

    tenant_id: UUID
    saga_id: UUID
    saga_type: str
    definition_version: int
    status: str
    saga_data: str
    epoch: int
    deadline_at: datetime | None
    resumed_at: datetime | None
    correlation_id: UUID
    causation_id: UUID | None
    started_by: str | None
    journal: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the journal: an attempt at a step or at its compensation."""

    step_number: int
    step_type: str
    direction: Direction
    attempt: int
    status: str
    started_at: datetime
    completed_at: datetime | None = None
    result: str | None = None
    error: str | None = None


@dataclass(slots=True)
class Record:
    """What is known of one step in one direction: attempts so far, those that failed of late, and how it stands."""

    attempts: int = 0
    failures: int = 0
    status: str = ""
    may_have_happened: bool = False
    started_at: datetime | None = None
    interrupted: int | None = None


@dataclass(slots=True)
class History:
    """The journal of one saga, summed up by step."""

    records: dict[tuple[Direction, str], Record] = field(default_factory=dict[tuple[Direction, str], Record])
    results: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    @classmethod
    def of(cls, claimed: Claimed) -> "History":
        """Sum up what the journal of a claimed saga holds."""
        history = cls()
        rows: Sequence[Sequence[Any]] = json.loads(claimed.journal or "null") or ()
        for number, name, direction, attempt, status, started, completed, result in rows:
            at, ended = datetime.fromisoformat(started), datetime.fromisoformat(completed) if completed else None
            text = None if result is None else json.dumps(result)
            history.add(Entry(number, name, direction, attempt, status, at, ended, text), since=claimed.resumed_at)
        return history

    def of_step(self, direction: Direction, name: str) -> Record:
        """Return what is known of a step; an empty record when it was never tried."""
        return self.records.get((direction, name), Record())

    def add(self, entry: Entry, *, since: datetime | None = None) -> None:
        """Take in one attempt; failures that ended before `since`, when an operator let it go on, do not count."""
        record = self.records.setdefault((entry.direction, entry.step_type), Record())
        record.attempts = max(record.attempts, entry.attempt)
        record.status = entry.status
        record.started_at = record.started_at or entry.started_at
        record.interrupted = entry.attempt if entry.status == "running" else None
        if entry.status in {"failed", "unknown"} and (since is None or (entry.completed_at or since) > since):
            record.failures += 1
        # What was begun and never heard of again may have happened too.
        record.may_have_happened |= entry.status in {"running", "unknown", "completed"}
        if entry.direction == "do" and entry.status in DONE:
            self.results[entry.step_type] = json.loads(entry.result or "{}")

    def is_done(self, direction: Direction, name: str) -> bool:
        """Return whether a step, or its compensation, needs nothing more."""
        return self.of_step(direction, name).status in DONE
