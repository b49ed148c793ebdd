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
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event

import psycopg

from benchmarks.measure import percentile_ms

_PAUSE_SECONDS = 0.002
_WARM_SECONDS = 0.3
CLIENTS = 2
_APART = 100_000_000
_FRESH = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Wait:
    """An update and a read of a client: when they began, by `time.monotonic`, and how many seconds they took."""

    began: float
    seconds: float


@dataclass
class Done:
    """What the server has acknowledged: updates, rows of the clients' own that are there, and those made and gone."""

    updates: int = 0
    own: set[int] = field(default_factory=set[int])
    inserts: int = 0
    deletes: int = 0
    children: int = 0

    def add(self, other: "Done") -> None:
        """Count what another client did too."""
        self.updates += other.updates
        self.own |= other.own
        self.inserts += other.inserts
        self.deletes += other.deletes
        self.children += other.children


@dataclass
class Clients:
    """What the clients met, known when they have ended; `failed` are statements that were refused."""

    began: float = 0.0
    waits: list[Wait] = field(default_factory=list[Wait])
    failed: list[str] = field(default_factory=list[str])
    done: "Done" = field(default_factory=Done)

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
def updating(url: str, rows: int, *, alone_seconds: float = 0.0, every: int = 0) -> Generator[Clients]:
    """Let the clients update and read rows of bench.items by their number until the end of the block.

    Args:
        url: The database.
        rows: Numbers below are there, and stay.
        alone_seconds: How long they work before the block begins.
        every: With so many updates, insert a row of one's own and one that refers to bench.items; delete half of them.
    """
    clients, stop = Clients(), _FRESH.Event()
    ends: list[Connection] = []
    processes: list[BaseProcess] = []
    warm = 0.0
    for seed in range(CLIENTS):
        ours, theirs = _FRESH.Pipe()
        process = _FRESH.Process(target=_work, args=(url, rows, seed, every, stop, theirs), daemon=True)
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
                waits, failed, done = end.recv()
                clients.done.add(done)
                clients.waits += [one for one in waits if one.began >= warm]
                clients.failed += failed
            process.join()


def _work(url: str, rows: int, seed: int, every: int, stop: Event, end: Connection) -> None:
    dice = random.Random(seed)
    waits: list[Wait] = []
    failed: list[str] = []
    done = Done()
    with psycopg.connect(url, autocommit=True) as conn:
        end.send(None)
        while not stop.is_set():
            began = time.monotonic()
            try:
                number = dice.randrange(rows)
                update = "UPDATE bench.items SET touched = touched + 1 WHERE number = %s"
                done.updates += conn.execute(update, [number]).rowcount
                conn.execute("SELECT touched FROM bench.items WHERE number = %s", [dice.randrange(rows)])
            except psycopg.Error as error:
                failed.append(str(error))
            waits.append(Wait(began, time.monotonic() - began))
            if every and not len(waits) % every:
                waits += _more(conn, rows + seed * _APART, dice.randrange(rows), done, failed)
            time.sleep(_PAUSE_SECONDS)
    end.send((waits, failed, done))


def _more(conn: psycopg.Connection, first: int, number: int, done: Done, failed: list[str]) -> list[Wait]:
    """Insert a row, delete every other one again, and refer to one that is there."""
    began = time.monotonic()
    own = first + done.inserts
    try:
        conn.execute(
            "INSERT INTO bench.items (item_id, number, vendor_id, name, value)"
            " VALUES (gen_random_uuid(), %s, 1, 'new', 1)",
            [own],
        )
        done.inserts += 1
        done.own.add(own)
        if done.inserts % 2:
            done.deletes += conn.execute("DELETE FROM bench.items WHERE number = %s", [own]).rowcount
            done.own.discard(own)
        refer = "INSERT INTO bench.child_0 (item_id) SELECT item_id FROM bench.items WHERE number = %s"
        done.children += conn.execute(refer, [number]).rowcount
    except psycopg.Error as error:
        failed.append(str(error))
    return [Wait(began, time.monotonic() - began)]
