"""The ClickHouse engine of the owner process: it lends handles, and bounds how many statements run at once.

A request without a session gets a fresh handle (0.5 ms), so nothing leaks from one caller to the next; a `session_id`
keeps its handle until it has been idle for its timeout.
"""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from cloudlab.embedded.clickhouse_session import QueryFailed, Session

_MAX_SESSIONS = 128
_MAX_SESSION_SECONDS = 3600
_PATIENCE_SECONDS = 30.0


class Engine:
    """The one engine of this process on one data path.

    Args:
        path: The data directory; chdb allows one process on it.
        config_file: Always given, for ClickHouse would otherwise load any `config.xml` of the folder it runs in.
        concurrency: Statements that run at the same time; others wait.
    """

    def __init__(self, path: str, config_file: str, concurrency: int) -> None:
        self._url = f"{path}?config-file={config_file}"
        self._slots = threading.BoundedSemaphore(concurrency)
        self._concurrency = concurrency
        self._sessions: dict[str, Session] = {}
        self._guard = threading.Lock()
        self._root = Session.open(self._url, is_kept=False)
        self.version = self._root.query("SELECT version()").body.decode().strip()

    def execute(self, text: str) -> None:
        """Run a statement of the owner's own."""
        self._root.query(text)

    @contextmanager
    def session(self, session_id: str, *, must_exist: bool, timeout_seconds: float) -> Generator[Session]:
        """Lend a handle for one request: the session's, or a fresh one that is closed afterwards."""
        if not self._slots.acquire(timeout=_PATIENCE_SECONDS):
            raise QueryFailed(202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"{self._concurrency} queries run already.")
        try:
            session = (
                self._claim(session_id, must_exist, timeout_seconds)
                if session_id
                else Session.open(self._url, is_kept=False)
            )
            try:
                yield session
            finally:
                if session.is_kept:
                    session.expires = time.monotonic() + session.timeout_seconds
                    session.lock.release()
                else:
                    session.close()
        finally:
            self._slots.release()

    def _claim(self, session_id: str, must_exist: bool, timeout_seconds: float) -> Session:
        with self._guard:
            session = self._sessions.get(session_id)
            if session is None:
                if must_exist:
                    raise QueryFailed(372, "SESSION_NOT_FOUND", "Session not found.")
                self._make_room()
                session = self._sessions[session_id] = Session.open(self._url, is_kept=True)
            if not session.lock.acquire(blocking=False):
                raise QueryFailed(373, "SESSION_IS_LOCKED", "Session is locked by a concurrent query.")
            session.timeout_seconds = min(timeout_seconds, _MAX_SESSION_SECONDS)
            return session

    def _make_room(self) -> None:
        idle = [name for name, session in self._sessions.items() if not session.lock.locked()]
        if len(self._sessions) >= _MAX_SESSIONS and idle:
            oldest = min(idle, key=lambda name: self._sessions[name].expires)
            self._sessions.pop(oldest).close()

    def expire_sessions(self) -> None:
        """Close the handles of sessions that have been idle for longer than their timeout."""
        now = time.monotonic()
        with self._guard:
            over = [k for k, s in self._sessions.items() if not s.lock.locked() and s.expires < now]
            for name in over:
                self._sessions.pop(name).close()

    def close(self, timeout_seconds: float) -> None:
        """Wait for the running statements, then close every handle: the engine writes what it still holds."""
        deadline = time.monotonic() + timeout_seconds
        for _ in range(self._concurrency):
            self._slots.acquire(timeout=max(0.0, deadline - time.monotonic()))
        for session in [*self._sessions.values(), self._root]:
            session.close()
