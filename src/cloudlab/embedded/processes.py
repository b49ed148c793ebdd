"""Server processes: started detached, recognised beyond doubt, stopped for certain.

A pid alone proves nothing: after a reboot or a day it may belong to anybody. A server is recognised by its command line
(the program, and as last argument the path that belongs to this stack alone) and by the time it was created. Nothing
else is ever signalled.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from cloudlab.embedded.accounts import Account
from cloudlab.errors import EmbeddedError

_KEEP_LOG_BYTES = 8 << 20
# The shell starts the server in the background, says its pid and ends: the server belongs to init from its first
# moment, so it neither dies with the terminal nor becomes a zombie of the process that happened to start it.
_DETACH = '"$@" >&2 & echo $!'


@dataclass(frozen=True, slots=True)
class Identity:
    """How a server of this stack is recognised: the program's file name, and its last argument."""

    programs: tuple[str, ...]
    path: str

    def fits(self, command: Sequence[str]) -> bool:
        """Tell whether a command line is this server's."""
        names = {Path(argument).name for argument in command[:-1]}
        return bool(command) and command[-1] == self.path and not names.isdisjoint(self.programs)


@dataclass(frozen=True, slots=True)
class Mark:
    """A process that cannot be confused with a later one of the same pid; `created` is in seconds since 1970."""

    pid: int
    created: float


def environment(home: Path) -> dict[str, str]:
    """Return the little that a server inherits: nothing of the caller's shell may change how it runs."""
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(home)}


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str],
    account: Account | None = None,
    identity: Identity,
) -> Mark | None:
    """Start a server in a session of its own, both outputs appended to `log`.

    Returns:
        Its mark, or None when it ended at once: the log says why.

    Raises:
        EmbeddedError: The program cannot be executed at all.
    """
    with suppress(FileNotFoundError):
        if log.stat().st_size > _KEEP_LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    output = os.open(log, flags, 0o600)
    try:
        said = run(["/bin/sh", "-c", _DETACH, "sh", *command], env=env, account=account, errors_to=output)
    finally:
        os.close(output)
    return _settled(int(said), identity)


def run(
    command: Sequence[str], *, env: Mapping[str, str], account: Account | None = None, errors_to: int = subprocess.PIPE
) -> str:
    """Run a program to its end, under an account if the caller is root, and return what it printed.

    Raises:
        EmbeddedError: It cannot be run, or fails; the details carry what it said.
    """
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors_to,
            env=dict(env),
            cwd="/",
            umask=0o077,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            text=True,
            check=True,
        ).stdout
    except subprocess.CalledProcessError as error:
        raise EmbeddedError(f"{command[0]} failed", details=str(error.stderr or "").strip()) from error
    except OSError as error:
        raise EmbeddedError(f"cannot run {command[0]}: {error.strerror}") from error


def _settled(pid: int, identity: Identity) -> Mark | None:
    """Wait for the short moment until the child of the shell has become the server."""
    for _ in range(2000):
        try:
            process = psutil.Process(pid)
            if identity.fits(process.cmdline()):
                return Mark(pid, process.create_time())
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.NoSuchProcess:
            return None
        time.sleep(0.001)
    raise EmbeddedError(f"process {pid} never became {identity.programs[0]}")


def alive(mark: Mark | None, identity: Identity) -> bool:
    """Tell whether this very process still runs."""
    if mark is None:
        return False
    try:
        process = psutil.Process(mark.pid)
        same = abs(process.create_time() - mark.created) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE and identity.fits(process.cmdline())
    except psutil.Error:
        return False


def find(identity: Identity) -> Mark | None:
    """Search all processes for this server: it may run although nobody wrote down its pid. About 5 ms."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if identity.fits(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                return Mark(process.pid, process.create_time())
    return None


def working_in(folder: Path, program: str) -> list[psutil.Process]:
    """Return the processes called `program` whose working directory is `folder`."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == program and process.cwd() == str(folder):
                found.append(process)
    return found


def naming(argument: str) -> list[psutil.Process]:
    """Return the processes with exactly this argument on their command line."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if argument in process.cmdline():
                found.append(process)
    return found


def stop(mark: Mark, identity: Identity, signals: Sequence[tuple[signal.Signals, float]]) -> None:
    """Send the signals one after the other, waiting so many seconds after each for the process to end.

    Raises:
        EmbeddedError: It still runs after the last one.
    """
    for number, patience_seconds in signals:
        if not alive(mark, identity):
            return
        with suppress(ProcessLookupError):
            os.kill(mark.pid, number)
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            if not alive(mark, identity):
                return
            time.sleep(0.01)
    raise EmbeddedError(f"process {mark.pid} ({identity.programs[0]}) does not end, even after SIGKILL")


def memory_bytes(pid: int) -> int:
    """Return what a server and its children really occupy: shared pages divided among those who share them (PSS)."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for process in family:
        with suppress(psutil.Error):
            full = process.memory_full_info()
            total += int(getattr(full, "pss", full.rss))
    return total


def log_tail(log: Path, lines: int = 12) -> str:
    """Return the end of a log, for the details of an error."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"({log}: {error})"
