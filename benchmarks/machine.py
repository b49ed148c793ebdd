"""What the figures were measured on: they mean little without it."""

import os
import platform
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.lab import Lab, file_system

_SETTINGS = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "wal_level", "shared_buffers")


def describe(lab: Lab) -> dict[str, Any]:
    """Return the machine, the disk and the server's settings."""
    ((data_directory,),) = lab.ask("SHOW data_directory")
    rows = lab.ask("SELECT name, setting FROM pg_settings WHERE name = ANY (%(names)s)", names=list(_SETTINGS))
    return {
        "cores": psutil.cpu_count(),
        "cpu": _model(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30)),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average": round(os.getloadavg()[0], 1),
        "file_system": file_system(Path(data_directory)),
        "fdatasync_us": round(1e6 * _sync_seconds(lab.folder)),
        "postgresql": dict(rows),
    }


def _model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _sync_seconds(folder: Path) -> float:
    """Return what it takes to write a page and see it on the disk: a commit is never quicker than that."""
    times: list[float] = []
    descriptor = os.open(folder / "sync", os.O_RDWR | os.O_CREAT)
    try:
        os.write(descriptor, bytes(8192))
        os.fsync(descriptor)
        for _ in range(50):
            os.pwrite(descriptor, os.urandom(8192), 0)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            times.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
    return median(times)
