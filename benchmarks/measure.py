"""Rounds, slices, spreads and rows: how everything here is measured.

Every figure has a floor: the same work without our code. Both are run in short slices, one after the other, in several
rounds whose order alternates, so that a machine that drifts hits both. A ratio is that of the median over the rounds of
figure / floor, each taken within one round.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

import psutil

# How often each connection runs its statements before it counts: after five executions a plan is kept, or is not.
LEARNING = 8
_MOMENT_SECONDS, _IDLE_PERCENT = 0.5, 10.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to measure: so many rounds of slices of so many seconds; `quick` leaves cases out, `full` adds rows.

    Before each round a busy machine is waited for, `patience_seconds` at most.
    """

    rounds: int = 5
    seconds: float = 1.0
    quick: bool = False
    full: bool = False
    patience_seconds: float = 0.0

    def callers(self, *wanted: int) -> tuple[int, ...]:
        """Return the numbers of callers to try: the last one only, when it must be quick."""
        return wanted[-1:] if self.quick else wanted


@dataclass(frozen=True, slots=True)
class Sample:
    """One slice: how much was done per second, and at what cost for each unit of it.

    CPU is in microseconds on the client's and on the server's side; `others` is the share of the machine's CPU that
    went to processes that have nothing to do with the benchmark.
    """

    rate: float
    client_us: float = 0.0
    server_us: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    others: float = 0.0


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the middle and the greatest of the rounds."""

    least: float
    middle: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Sum up at least one value."""
        return cls(min(values), median(values), max(values))


@dataclass(frozen=True, slots=True)
class Target:
    """What the design asks of the ratio, or of the figure where there is no floor to compare with."""

    bound: Literal["≥", "≤"]
    value: float
    of: Literal["ratio", "figure"] = "ratio"

    def met(self, measured: float) -> bool:
        """Tell whether the middle value is good enough."""
        return measured >= self.value if self.bound == "≥" else measured <= self.value


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a report: what was measured, in which unit, against which floor.

    `others` is the share of the machine that other processes used meanwhile.
    """

    benchmark: str
    what: str
    unit: str
    figure: Spread
    floor: Spread | None = None
    ratio: Spread | None = None
    target: Target | None = None
    detail: str = ""
    others: float = 0.0

    @property
    def met(self) -> bool | None:
        """Whether the target was reached; None where there is none."""
        if self.target is None:
            return None
        measured = self.ratio if self.target.of == "ratio" else self.figure
        return measured is not None and self.target.met(measured.middle)


Way = Callable[[float], Awaitable[Sample]]
Samples = Mapping[str, list[Sample]]


async def interleave(pace: Pace, **ways: Way) -> Samples:
    """Run a slice of each way in every round, in alternating order; a short slice of each warms up first."""
    for way in ways.values():
        await way(pace.seconds / 4)
    samples: dict[str, list[Sample]] = {name: [] for name in ways}
    for number in range(pace.rounds):
        await _idle(pace.patience_seconds)
        for name in list(ways) if number % 2 == 0 else reversed(ways):
            samples[name].append(await ways[name](pace.seconds))
    return samples


async def _idle(patience_seconds: float) -> None:
    """Return when the machine has been idle for a moment, or patience is at an end."""
    until = time.monotonic() + patience_seconds
    while time.monotonic() < until:
        psutil.cpu_percent()
        await asyncio.sleep(_MOMENT_SECONDS)
        if psutil.cpu_percent() < _IDLE_PERCENT:
            return


def compare(
    benchmark: str,
    what: str,
    samples: Samples,
    *,
    figure: str,
    floor: str,
    unit: str = "/s",
    target: Target | None = None,
) -> Row:
    """Make the row of two ways that ran interleaved."""
    above, below = samples[figure], samples[floor]
    others = median(sample.others for sample in [*above, *below])
    return Row(
        benchmark,
        what,
        unit,
        Spread.of([sample.rate for sample in above]),
        Spread.of([sample.rate for sample in below]),
        Spread.of([a.rate / b.rate for a, b in zip(above, below, strict=True)]),
        target,
        f"{_cost('figure', above)}; {_cost('floor', below)}; others used {others:.0%} of the machine",
        others,
    )


def _cost(name: str, samples: Sequence[Sample]) -> str:
    client, server = (median(values) for values in zip(*((s.client_us, s.server_us) for s in samples), strict=True))
    text = f"{name}: CPU {client:,.1f} µs client" + (f" + {server:,.1f} µs server" if server else "")
    p50, p99 = (median(values) for values in zip(*((s.p50_ms, s.p99_ms) for s in samples), strict=True))
    return text + (f", p50 {p50:.2f} ms" if p50 else "") + (f", p99 {p99:.2f} ms" if p99 else "")


def percentile_ms(seconds: Sequence[float], share: float) -> float:
    """Return what this share of at least one latency did not exceed."""
    return 1000 * sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]
