"""One handle on the ClickHouse engine: a statement at a time, with the settings of each request and of no other.

A handle of chdb behaves as a connection: it runs one statement at a time and keeps its settings, database and temporary
tables. Importing this module loads the engine (about 0.15 s and 220 MiB): only the owner process does.
"""

import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

from chdb._exceptions import ChdbError
from chdb.state import sqlitelike

from cloudlab.embedded.clickhouse_statement import Statement

_CODE = re.compile(r"Code: (\d+)\. ")
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")


class QueryFailed(Exception):
    """What ClickHouse says when a statement fails: its error code and its text."""

    def __init__(self, code: int, name: str, text: str) -> None:
        self.code = code
        self.text = f"Code: {code}. DB::Exception: {text} ({name})" if name else text
        super().__init__(self.text)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished statement gave and did."""

    body: bytes = b""
    result_rows: int = 0
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0


class _Result(Protocol):
    def bytes(self) -> bytes: ...
    def rows_read(self) -> int: ...
    def rows_written(self) -> int: ...
    def bytes_written(self) -> int: ...
    def storage_rows_read(self) -> int: ...
    def storage_bytes_read(self) -> int: ...


class _Written(Protocol):
    rows_written: int
    bytes_written: int


class _Inserter(Protocol):
    def append(self, data: bytes) -> None: ...
    def finish(self) -> _Written: ...
    def cancel(self) -> None: ...


class _Stream(Protocol):
    def fetch(self) -> _Result | None: ...
    def cancel(self) -> None: ...


class _Handle(Protocol):
    """As much of chdb's connection as is used here; it comes without types."""

    def query(self, query: str, format: str, params: Mapping[str, str] | None = None) -> _Result: ...  # noqa: A002
    def send_query(self, query: str, format: str, params: Mapping[str, str]) -> _Stream: ...  # noqa: A002
    def send_insert(self, query: str, format: str) -> _Inserter: ...  # noqa: A002
    def close(self) -> None: ...


def _failure(error: Exception) -> QueryFailed:
    """Turn what chdb raised into code and text."""
    text = str(error)
    found = _CODE.search(text)
    if not found:
        return QueryFailed(1002, "UNKNOWN_EXCEPTION", text)
    return QueryFailed(int(found[1]), "", re.sub(r" \(version [\w.]+\)$", "", text[found.start() :]))


def quoted(text: str, mark: str = "'") -> str:
    """Quote a string, or with a backtick an identifier, for ClickHouse."""
    return mark + text.replace("\\", "\\\\").replace(mark, "\\" + mark) + mark


@dataclass(slots=True)
class Session:
    """A handle, with what was last set on it."""

    handle: _Handle
    is_kept: bool
    timeout_seconds: float = 60.0
    expires: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    _database: str = ""
    _before: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def open(cls, url: str, *, is_kept: bool) -> "Session":
        """Open a handle on the engine of this process; the first one opens the data."""
        connect = cast(Callable[[str], _Handle], sqlitelike.Connection)
        return cls(connect(url), is_kept)

    def close(self) -> None:
        """Give the handle back."""
        self.handle.close()

    def prepare(self, database: str, settings: Mapping[str, str]) -> None:
        """Choose the database and apply this request's settings, after taking back those of the request before."""
        if database and database != self._database:
            self.query(f"USE {quoted(database, '`')}")
            self._database = database
        for name in settings:
            if not _SETTING_NAME.fullmatch(name):
                raise QueryFailed(115, "UNKNOWN_SETTING", f"Unknown setting {name!r}.")
        restored = {name: value for name, value in self._before.items() if name not in settings}
        if self.is_kept:
            fresh = [name for name in settings if name not in self._before]
            self._before = {name: self._before[name] for name in settings if name in self._before}
            self._before |= {name: self._setting(name) for name in fresh}
        if changes := restored | dict(settings):
            self.query("SET " + ", ".join(f"{name} = {quoted(value)}" for name, value in changes.items()))

    def _setting(self, name: str) -> str:
        return self.query(f"SELECT toString(getSetting({quoted(name)}))", "RawBLOB").body.decode()

    def query(self, text: str, output: str = "TabSeparated", params: Mapping[str, str] | None = None) -> Outcome:
        """Run a statement to its end; `output` is the format of its rows unless the statement names one."""
        try:
            result = self.handle.query(text, output, params)
        except (RuntimeError, ChdbError) as error:
            raise _failure(error) from error
        return Outcome(
            result.bytes(),
            result.rows_read(),
            result.storage_rows_read(),
            result.storage_bytes_read(),
            result.rows_written(),
            result.bytes_written(),
        )

    def stream(self, text: str, output: str, params: Mapping[str, str]) -> Generator[bytes]:
        """Run a SELECT and hand out its blocks as they are made; leaving early cancels it."""
        stream: _Stream | None = None
        try:
            stream = self.handle.send_query(text, output, params)
            while block := stream.fetch():
                yield block.bytes()
        except (RuntimeError, ChdbError) as error:
            raise _failure(error) from error
        finally:
            if stream:
                stream.cancel()

    def insert(self, text: bytes, statement: Statement, chunks: Iterator[bytes]) -> Outcome:
        """Feed an INSERT from the caller's chunks, in constant memory.

        As with any ClickHouse, a bad block takes back no earlier one of a large insert: repeat it with the same
        insert_deduplication_token.
        """
        inserter: _Inserter | None = None
        try:
            inserter = self.handle.send_insert(text[: statement.head_end].decode(), statement.format)
            if first := text[statement.data_at :]:
                inserter.append(first)
            for chunk in chunks:
                inserter.append(chunk)
            last, inserter = inserter, None
            written = last.finish()
        except RuntimeError as error:
            raise _failure(error) from error
        finally:
            if inserter:
                inserter.cancel()
        return Outcome(
            b"",
            written.rows_written,
            written.rows_written,
            written.bytes_written,
            written.rows_written,
            written.bytes_written,
        )
