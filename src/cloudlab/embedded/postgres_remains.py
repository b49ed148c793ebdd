"""What a killed PostgreSQL, or a killed first start of one, leaves behind, and how it is cleared without harm."""

import shutil
import time
from contextlib import suppress
from pathlib import Path

import psutil

from cloudlab.embedded import processes
from cloudlab.errors import EmbeddedError

PID_FILE = "postmaster.pid"


def clear_half_made(data_dir: Path) -> None:
    """Delete clusters that were left half-made; the initdb of a killed process may still be writing one."""
    deadline = time.monotonic() + 10
    for work in data_dir.parent.glob(f"{data_dir.name}.new-*"):
        while remains := [*processes.naming(str(work)), *processes.working_in(work, "postgres")]:
            for process in remains:
                with suppress(psutil.Error):
                    process.kill()
            if time.monotonic() > deadline:
                raise EmbeddedError(f"processes of an interrupted start do not end: {[p.pid for p in remains]}")
            time.sleep(0.01)
        shutil.rmtree(work)


def clear_killed(data_dir: Path) -> None:
    """Clear what a killed server left: its backends, which end by themselves within moments, and its pid file.

    The pid file must go because its pid may by now be another process of the same account, and then PostgreSQL would
    refuse to start; it may go only when no process works in the cluster any more.
    """
    deadline = time.monotonic() + 10
    while remains := processes.working_in(data_dir, "postgres"):
        for process in remains:
            with suppress(psutil.Error):
                # A process that is just ending has no command line any more.
                if process.pid == _pid_written(data_dir) and process.cmdline():
                    raise EmbeddedError(
                        f"process {process.pid} runs PostgreSQL on {data_dir}, but not as this stack starts it",
                        hint=f"Stop it first: kill -INT {process.pid}.",
                    )
                if time.monotonic() > deadline - 5:
                    process.kill()
        if time.monotonic() > deadline:
            raise EmbeddedError(f"processes of a killed server do not end: {[process.pid for process in remains]}")
        time.sleep(0.02)
    (data_dir / PID_FILE).unlink(missing_ok=True)


def clear_sockets(socket_dir: Path, data_dir: Path) -> None:
    """Remove the lock files that a killed server of this cluster left beside its sockets: they too hold a stale pid."""
    for lock in socket_dir.glob(".s.PGSQL.*.lock"):
        if str(data_dir) in lock.read_text().splitlines():
            lock.unlink()


def _pid_written(data_dir: Path) -> int:
    with suppress(OSError, ValueError, IndexError):
        return int((data_dir / PID_FILE).read_text().splitlines()[0])
    return 0
