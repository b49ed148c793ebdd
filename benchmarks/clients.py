"""Clients of a table that is being changed: two that update single rows all the time, and how long they had to wait."""

import contextlib
import random
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field

import psycopg

_PAUSE_SECONDS = 0.002


@dataclass
class Clients:
    """What the clients met so far; `failed` are statements that were refused."""

    seconds: list[float] = field(default_factory=list[float])
    failed: list[str] = field(default_factory=list[str])

    @property
    def worst_ms(self) -> float:
        """The longest that any statement took."""
        return 1000 * max(self.seconds, default=0.0)


@contextlib.contextmanager
def updating(url: str, rows: int) -> Generator[Clients]:
    """Let two clients update and read rows of bench.items by their number until the end of the block."""
    clients, stop = Clients(), threading.Event()

    def work(seed: int) -> None:
        dice = random.Random(seed)
        with psycopg.connect(url, autocommit=True) as conn:
            while not stop.is_set():
                began = time.perf_counter()
                try:
                    number = dice.randrange(rows)
                    conn.execute("UPDATE bench.items SET touched = touched + 1 WHERE number = %s", [number])
                    conn.execute("SELECT touched FROM bench.items WHERE number = %s", [dice.randrange(rows)])
                except psycopg.Error as error:
                    clients.failed.append(str(error))
                clients.seconds.append(time.perf_counter() - began)
                time.sleep(_PAUSE_SECONDS)

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(2)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.3)
        clients.seconds.clear()
        yield clients
    finally:
        stop.set()
        for thread in threads:
            thread.join()
