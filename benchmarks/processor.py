"""Processor time: what the client, the server and everybody else used between two moments."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Reading:
    """The clocks at one moment, in seconds: the wall's, the client's, the server's, and that of the whole machine."""

    at: float
    client: float
    server: float
    machine: float

    def others(self, earlier: "Reading") -> float:
        """Return which share of the machine neither the client nor the server has used since an earlier reading."""
        used = self.machine - earlier.machine - (self.client - earlier.client) - (self.server - earlier.server)
        return max(0.0, used / ((self.at - earlier.at) * (psutil.cpu_count() or 1)))


class Meter:
    """Reads the clocks of a client, by default this process, and of a server with all its children."""

    def __init__(self, server_pid: int, client_pid: int | None = None) -> None:
        self._server, self._client = psutil.Process(server_pid), psutil.Process(client_pid)

    def read(self) -> Reading:
        """Read all clocks now; a client that has ended is an error of psutil's."""
        client = self._client.cpu_times()
        return Reading(time.time(), client.user + client.system, _tree(self._server), _machine())


def _tree(process: psutil.Process) -> float:
    """Add up a process, its living children, and those that ended: they are in the parent's account.

    A child that ends meanwhile could be missed in both places, so it is done again when that account has changed.
    """
    while True:
        before = process.cpu_times()
        total = _own(process.pid) + before.children_user + before.children_system
        for pid in _children(process):
            with suppress(psutil.NoSuchProcess, OSError):
                total += _own(pid)
        after = process.cpu_times()
        if (before.children_user, before.children_system) == (after.children_user, after.children_system):
            return total


def _children(process: psutil.Process) -> list[int]:
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if listed.exists():
        return [int(pid) for pid in listed.read_text().split()]
    return [child.pid for child in process.children()]


def _own(pid: int) -> float:
    """Return one process's time, to the nanosecond where the kernel tells: elsewhere it counts in ticks of 10 ms."""
    exact = Path(f"/proc/{pid}/schedstat")
    if exact.exists():
        return int(exact.read_text().split()[0]) / 1e9
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def _machine() -> float:
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    # A guest's time is in that of its user already.
    return sum(times) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
