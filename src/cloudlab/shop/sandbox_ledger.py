"""The books of the sandbox: what it was asked, what it did, and which messages it still owes.

In memory by default. In a SQLite file they outlive the process and are shared with others, so that a test may kill a
shop in the middle of a payment and compare both sides afterwards.
"""

import asyncio
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

from cloudlab.shop.gateway import Answer, Kind, PaymentMethod
from cloudlab.values import Money

T = TypeVar("T")

_NEVER = datetime.min.replace(tzinfo=UTC)
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS entries (
        key TEXT PRIMARY KEY, reference TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL, method TEXT NOT NULL,
        amount TEXT NOT NULL, currency TEXT NOT NULL, parent TEXT, failure TEXT NOT NULL, at TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS entries_parent ON entries (parent);
    CREATE INDEX IF NOT EXISTS entries_reference ON entries (reference);
    CREATE TABLE IF NOT EXISTS questions (key TEXT PRIMARY KEY, count INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY, key TEXT NOT NULL, rounds INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What the sandbox has done under a key, or refused to do; it stays so for ever."""

    key: str
    reference: str
    kind: Kind
    status: Answer
    method: PaymentMethod
    amount: Money
    parent: str | None = None
    failure: str = ""
    at: datetime = _NEVER


class Book(Protocol):
    """The ledger while one question is answered; nobody else writes in it meanwhile."""

    def asked(self, key: str) -> int:
        """Count a question under this key; return how many there were with this one."""
        ...

    def entry(self, key: str) -> Entry | None:
        """Return what was done under a key."""
        ...

    def referenced(self, reference: str) -> Entry | None:
        """Return what goes by this reference."""
        ...

    def children(self, reference: str) -> list[Entry]:
        """Return what was done about something earlier: captures, voids, refunds."""
        ...

    def entries(self) -> list[Entry]:
        """Return all of it, in the order in which it was done."""
        ...

    def add(self, entry: Entry, rounds: list[int]) -> None:
        """Enter something; a message of it is due in each of these rounds, 0 = the next."""
        ...

    def due(self) -> list[Entry]:
        """Return what messages are due now, twice what is due twice, and begin the next round."""
        ...


class Ledger(Protocol):
    """Where a book is kept."""

    async def work(self, act: Callable[[Book], T]) -> T:
        """Run `act` on the book, alone."""
        ...


class MemoryLedger:
    """A book that ends with its process."""

    def __init__(self) -> None:
        self._book = _MemoryBook()

    async def work(self, act: Callable[[Book], T]) -> T:
        """Run `act` on the book; nothing else runs meanwhile, because it never waits."""
        return act(self._book)


class _MemoryBook:
    def __init__(self) -> None:
        self._questions: Counter[str] = Counter()
        self._entries: dict[str, Entry] = {}
        self._references: dict[str, Entry] = {}
        self._children: defaultdict[str, list[Entry]] = defaultdict(list)
        self._messages: list[tuple[Entry, int]] = []

    def asked(self, key: str) -> int:
        self._questions[key] += 1
        return self._questions[key]

    def entry(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def referenced(self, reference: str) -> Entry | None:
        return self._references.get(reference)

    def children(self, reference: str) -> list[Entry]:
        return self._children.get(reference, [])

    def entries(self) -> list[Entry]:
        return list(self._entries.values())

    def add(self, entry: Entry, rounds: list[int]) -> None:
        self._entries[entry.key] = entry
        self._references[entry.reference] = entry
        if entry.parent is not None:
            self._children[entry.parent].append(entry)
        self._messages += [(entry, count) for count in rounds]

    def due(self) -> list[Entry]:
        now = [entry for entry, rounds in self._messages if rounds <= 0]
        self._messages = [(entry, rounds - 1) for entry, rounds in self._messages if rounds > 0]
        return now


class FileLedger:
    """A book in a SQLite file, for several processes; what was answered survives the death of any of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def work(self, act: Callable[[Book], T]) -> T:
        """Run `act` in one transaction of the file, in a thread. Cost: about 1 ms."""
        return await asyncio.to_thread(self._locked, act)

    def _locked(self, act: Callable[[Book], T]) -> T:
        with closing(sqlite3.connect(self._path, timeout=60, isolation_level=None)) as conn:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA synchronous = NORMAL")
            conn.executescript(_SCHEMA)
            conn.execute("BEGIN IMMEDIATE")
            done = act(_FileBook(conn))
            conn.execute("COMMIT")
            return done


_SELECT = "SELECT key, reference, kind, status, method, amount, currency, parent, failure, at FROM entries "


class _FileBook:
    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn

    def asked(self, key: str) -> int:
        (count,) = self._conn.execute(
            "INSERT INTO questions VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1 RETURNING count", [key]
        ).fetchone()
        return count

    def entry(self, key: str) -> Entry | None:
        return next(iter(self._found(_SELECT + "WHERE key = ?", key)), None)

    def referenced(self, reference: str) -> Entry | None:
        return next(iter(self._found(_SELECT + "WHERE reference = ?", reference)), None)

    def children(self, reference: str) -> list[Entry]:
        return self._found(_SELECT + "WHERE parent = ? ORDER BY rowid", reference)

    def entries(self) -> list[Entry]:
        return self._found(_SELECT + "ORDER BY rowid")

    def add(self, entry: Entry, rounds: list[int]) -> None:
        amount, currency = str(entry.amount.amount), entry.amount.currency
        self._conn.execute(
            "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [entry.key, entry.reference, entry.kind, entry.status, entry.method, amount, currency, entry.parent,
             entry.failure, entry.at.isoformat()],
        )  # fmt: skip
        self._conn.executemany("INSERT INTO messages (key, rounds) VALUES (?, ?)", [(entry.key, n) for n in rounds])

    def due(self) -> list[Entry]:
        rows = self._conn.execute("SELECT key FROM messages WHERE rounds <= 0 ORDER BY number").fetchall()
        self._conn.execute("DELETE FROM messages WHERE rounds <= 0")
        self._conn.execute("UPDATE messages SET rounds = rounds - 1")
        return [entry for (key,) in rows if (entry := self.entry(key))]

    def _found(self, query: str, *parameters: str) -> list[Entry]:
        return [
            Entry(key, reference, Kind(kind), Answer(status), PaymentMethod(method), Money(amount, currency), parent,
                  failure, datetime.fromisoformat(at))
            for key, reference, kind, status, method, amount, currency, parent, failure, at
            in self._conn.execute(query, parameters)
        ]  # fmt: skip
