"""Processor time: what the client, the server and everybody else used between two moments."""

import resource
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds of processor time; `others` is what neither the client nor the server used, as a share of the machine."""

    client: float
    server: float
    others: float


class Meter:
    """Reads the clocks of this process, of the programs it ran, and of a server with all its backends."""

    def __init__(self, server_pid: int) -> None:
        self._server = psutil.Process(server_pid)
        self.start()

    def start(self) -> None:
        """Begin to measure, anew if it was measuring before."""
        self._began = time.perf_counter(), _client(), _tree(self._server), _machine()

    def read(self) -> Used:
        """Return what was used since the start."""
        at, client, server, machine = self._began
        elapsed = (time.perf_counter() - at) * (psutil.cpu_count() or 1)
        used_here, used_there = _client() - client, _tree(self._server) - server
        return Used(used_here, used_there, max(0.0, (_machine() - machine - used_here - used_there) / elapsed))


def _client() -> float:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def _tree(process: psutil.Process) -> float:
    """Add up a process, its living children, and those that ended: they are in the parent's account.

    A child that ends meanwhile could be missed in both places, so it is done again when that account has changed.
    """
    while True:
        before = process.cpu_times()
        total = _own(process) + before.children_user + before.children_system
        for child in process.children():
            with suppress(psutil.NoSuchProcess, OSError):
                total += _own(child)
        after = process.cpu_times()
        if (before.children_user, before.children_system) == (after.children_user, after.children_system):
            return total


def _own(process: psutil.Process) -> float:
    """Return one process's time, to the nanosecond where the kernel tells: elsewhere it counts in ticks of 10 ms."""
    exact = Path(f"/proc/{process.pid}/schedstat")
    if exact.exists():
        return int(exact.read_text().split()[0]) / 1e9
    times = process.cpu_times()
    return times.user + times.system


def _machine() -> float:
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # A guest's time is in that of its user already.
    return sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
