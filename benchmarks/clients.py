"""Clients of a table that is being changed: two that update single rows all the time, and how long they had to wait.

They are processes of their own: what the measuring process does keeps none of them from its clock. Before the change
they are alone for a while. What they wait then is what the machine and its disk cost; it stands beside the rest.
"""

import contextlib
import multiprocessing
import random
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event

import psycopg

from benchmarks.measure import percentile_ms

_PAUSE_SECONDS = 0.002
_WARM_SECONDS = 0.3
CLIENTS = 2
_FRESH = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Wait:
    """An update and a read of a client: when they began, by `time.monotonic`, and how many seconds they took."""

    began: float
    seconds: float


@dataclass
class Clients:
    """What the clients met, known when they have ended; `failed` are statements that were refused."""

    began: float = 0.0
    waits: list[Wait] = field(default_factory=list[Wait])
    failed: list[str] = field(default_factory=list[str])

    @property
    def seconds(self) -> list[float]:
        """The waits during the change."""
        return [one.seconds for one in self.waits if one.began + one.seconds >= self.began]

    @property
    def alone(self) -> list[float]:
        """The waits before it."""
        return [one.seconds for one in self.waits if one.began + one.seconds < self.began]

    @property
    def worst_ms(self) -> float:
        """The longest wait during the change."""
        return 1000 * max(self.seconds, default=0.0)

    @property
    def alone_ms(self) -> float:
        """The longest wait before it."""
        return 1000 * max(self.alone, default=0.0)

    def beside(self) -> str:
        """Return p99 and longest wait, before and during, for a reader."""
        return f"p99 {_p99(self.alone)} → {_p99(self.seconds)} ms; clients alone waited {self.alone_ms:.0f} ms at most"


def _p99(seconds: Sequence[float]) -> str:
    return f"{percentile_ms(seconds, 0.99):.1f}" if seconds else "?"


@contextlib.contextmanager
def updating(url: str, rows: int, *, alone_seconds: float = 0.0) -> Generator[Clients]:
    """Let the clients update and read rows of bench.items by their number until the end of the block."""
    clients, stop = Clients(), _FRESH.Event()
    ends: list[Connection] = []
    processes: list[multiprocessing.process.BaseProcess] = []
    for seed in range(CLIENTS):
        ours, theirs = _FRESH.Pipe()
        process = _FRESH.Process(target=_work, args=(url, rows, seed, stop, theirs), daemon=True)
        process.start()
        theirs.close()
        ends.append(ours)
        processes.append(process)
    try:
        for end in ends:
            end.recv()  # it works
        time.sleep(_WARM_SECONDS)
        warm = time.monotonic()
        time.sleep(alone_seconds)
        clients.began = time.monotonic()
        yield clients
    finally:
        stop.set()
        for end, process in zip(ends, processes, strict=True):
            with contextlib.suppress(EOFError):
                waits, failed = end.recv()
                clients.waits += [one for one in waits if one.began >= warm]
                clients.failed += failed
            process.join()


def _work(url: str, rows: int, seed: int, stop: Event, end: Connection) -> None:
    dice = random.Random(seed)
    waits: list[Wait] = []
    failed: list[str] = []
    with psycopg.connect(url, autocommit=True) as conn:
        end.send(None)
        while not stop.is_set():
            began = time.monotonic()
            try:
                number = dice.randrange(rows)
                conn.execute("UPDATE bench.items SET touched = touched + 1 WHERE number = %s", [number])
                conn.execute("SELECT touched FROM bench.items WHERE number = %s", [dice.randrange(rows)])
            except psycopg.Error as error:
                failed.append(str(error))
            waits.append(Wait(began, time.monotonic() - began))
            time.sleep(_PAUSE_SECONDS)
    end.send((waits, failed))
