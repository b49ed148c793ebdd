"""The embedded stack: how long `up` and `down` take, and what it occupies while idle."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.lab import Lab, temporary_folder
from benchmarks.measure import Pace, Row, Spread, Target
from cloudlab.embedded import stack

NAME = "stack"
METHOD = (
    "seconds of stack.up in an empty folder (first, binaries unpacked before), after down (warm), while it runs "
    "(no-op), and of stack.down; floor: the slowest of the three servers alone, as up reports it; memory is PSS"
)
_READY = re.compile(r"ready in ([\d.]+) s")
_IDLE_SECONDS = 5.0
_MIB = 1 << 20


@dataclass(slots=True)
class _Times:
    """Seconds of each round, and of the slowest server in it."""

    taken: list[float] = field(default_factory=list[float])
    slowest: list[float] = field(default_factory=list[float])

    async def up(self, folder: Path) -> None:
        """Start the stack and note how long it took."""
        said: list[str] = []
        began = time.perf_counter()
        await stack.up(folder, progress=said.append)
        self.taken.append(time.perf_counter() - began)
        self.slowest.append(max((float(match[1]) for line in said if (match := _READY.search(line))), default=0.0))

    async def down(self, folder: Path) -> None:
        """Stop the stack and note how long it took."""
        began = time.perf_counter()
        await stack.down(folder)
        self.taken.append(time.perf_counter() - began)

    def row(self, what: str, target: Target | None = None) -> Row:
        """Make the row of these times, against the slowest servers where any was started."""
        floor = Spread.of(self.slowest) if any(self.slowest) else None
        ratio = Spread.of([a / b for a, b in zip(self.taken, self.slowest, strict=True)]) if floor else None
        return Row(NAME, what, "s", Spread.of(self.taken), floor, ratio, target)


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Start and stop stacks of their own; then look at the memory of the one that runs here."""
    first, warm, again, down = _Times(), _Times(), _Times(), _Times()
    memory: list[dict[str, float]] = []
    for _ in range(1 if pace.quick else min(pace.rounds, 3)):
        with temporary_folder() as folder:
            home = folder / "stack"
            try:
                await first.up(home)
                await asyncio.sleep(0.5 if pace.quick else _IDLE_SECONDS)
                memory.append({server.name: server.memory_bytes / _MIB for server in await stack.status(home)})
                await down.down(home)
                await warm.up(home)
                await again.up(home)
                await down.down(home)
            finally:
                await stack.down(home, purge=True)
    yield first.row("up, first", Target("≤", 2.0, "figure"))
    yield warm.row("up, warm", Target("≤", 0.6, "figure"))
    yield again.row("up, everything running")
    yield down.row("down")
    each = ", ".join(f"{name} {median(sample[name] for sample in memory):.0f} MiB" for name in memory[0])
    detail = f"{each}; less when other stacks run here: what is shared is divided among those who share it"
    target = Target("≤", 300, "figure")
    yield Row(
        NAME, "memory, idle", "MiB", Spread.of([sum(sample.values()) for sample in memory]), None, None, target, detail
    )
