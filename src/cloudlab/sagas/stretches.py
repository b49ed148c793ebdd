"""Stretches: local steps that follow one another share a transaction, as long as it stays short.

Each has its own row in the journal, as if it had committed by itself; the commit is paid once. When one fails, nothing
of the stretch is kept, and its steps are run one by one, so that every failure is journaled and counted as ever.

Standard: §3.3 Saga State Management
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from cloudlab.events.store import as_json
from cloudlab.sagas.definition import Running, Saga, Step, written
from cloudlab.sagas.history import Entry, History
from cloudlab.sagas.journal import ENDED, Write
from cloudlab.session import Session

# What the first steps have locked waits for the last one: no step is begun in a transaction that is older.
SHORT_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps that have never been tried, the first of which has this number; `saga` is what the first one is given."""

    number: int
    steps: list[Step]
    saga: Running

    @classmethod
    def ahead(cls, definition: Saga, history: History, number: int, saga: Running) -> "Stretch":
        """Return the local steps from one on up to the first part that is something else, or was tried before."""
        steps: list[Step] = []
        for part in definition.parts[number:]:
            if not isinstance(part, Step) or part.external or part.alone or history.of_step("do", part.name).attempts:
                break
            steps.append(part)
        return cls(number, steps, saga)

    async def run(
        self, s: Session, write: Write, parts: int, at: Callable[[str], None], is_overdue: Callable[[int], bool]
    ) -> Write:
        """Run the steps in the session until it has lasted long enough; return what is to be written of them.

        Args:
            s: The session, perhaps shared with other sagas.
            write: The saga and its epoch.
            parts: How many parts the saga has: with the last one it is completed.
            at: Is told when a step has been run, but not committed.
            is_overdue: Whether a step must not be begun any more, by its number.
        """
        entries: list[Entry] = []
        saga, began = self.saga, time.monotonic()
        for number, step in enumerate(self.steps, self.number):
            if entries and (time.monotonic() - began > SHORT_SECONDS or is_overdue(number)):
                break
            started = datetime.now(UTC)
            async with asyncio.timeout(step.timeout.total_seconds()):
                result = written(await cast(Any, step.do)(s, saga))
            at(f"before commit:do:{step.name}")
            text = as_json(result) if result else None
            entries.append(Entry(number, step.name, "do", 1, "completed", started, datetime.now(UTC), text))
            saga = replace(saga, results={**saga.results, step.name: json.loads(text or "{}")})
        reached = self.number + len(entries)
        done = replace(write, current_step=reached - 1, entries=tuple(entries))
        return replace(done, status="completed", wake=ENDED) if reached == parts else done
