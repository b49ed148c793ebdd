"""The embedded stack: PostgreSQL, Valkey and ClickHouse on one machine, started together and kept honest.

`up` brings every part into the state "runs and answers", whatever state it finds: nothing there, all well, one part
killed, everything killed, a reboot, a first start that was interrupted. It decides by looking at the processes, never
by believing a file; files only say where to look first. One `up` or `down` works at a time on a state directory.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloudlab.embedded import clickhouse, homes, parts, processes, runtime, valkey
from cloudlab.embedded.homes import Home
from cloudlab.embedded.parts import Part
from cloudlab.embedded.postgres_binaries import find_binaries
from cloudlab.embedded.processes import Mark
from cloudlab.embedded.runtime import Runtime, Saved, ServerRecord
from cloudlab.errors import EmbeddedError

_LOCK_PATIENCE_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """One server as `cloudlab status` shows it; `crashed` means it should run and does not."""

    name: str
    state: Literal["running", "stopped", "crashed"]
    pid: int | None
    address: str
    version: str
    memory_bytes: int


async def up(
    state_dir: Path,
    *,
    shards: Sequence[tuple[str, str]] | None = None,
    tls: bool | None = None,
    progress: Callable[[str], None] | None = None,
    minimum_free_bytes: int = homes.MINIMUM_FREE_BYTES,
) -> Runtime:
    """Start what does not run; return how to reach the stack. Nothing is changed when all of it runs.

    It runs no migrations: the databases are there and empty at first.

    Args:
        state_dir: The folder of the stack; made if need be.
        shards: Name and region of each shard; by default those the stack has, at first us_east_001 and eu_west_001.
            Shards can be added, never removed.
        tls: Reach PostgreSQL by TLS with certificates the stack makes, or by its unix socket; None leaves it as it is.
            A change restarts PostgreSQL.
        progress: Told each step in a few words.
        minimum_free_bytes: Refuse to start with less free disk space than this.

    Raises:
        EmbeddedError: A program is missing, the disk is full, a folder cannot be written, or a server does not start:
            then the servers this call started are stopped again.
    """
    home = homes.resolve(state_dir)
    await asyncio.to_thread(_check_programs, home)
    await asyncio.to_thread(homes.create, home, minimum_free_bytes=minimum_free_bytes)
    with _explained(home):
        async with _locked(home):
            return await _up(home, shards, tls, progress)


async def _up(
    home: Home,
    shards: Sequence[tuple[str, str]] | None,
    tls: bool | None,
    progress: Callable[[str], None] | None,
) -> Runtime:
    saved = runtime.load_saved(home)
    ports, names, was_tls = dict(saved.ports), list(saved.shards), saved.tls
    runtime.add_shards(saved, shards)
    recorded = runtime.recorded(home)
    if tls is not None and tls != bool(was_tls):
        # Stopped before it is written down: the next `up` starts it in the way that is written down then.
        await _stop_postgres(home, recorded)
        saved.tls = tls
    if not home.saved.exists() or (names, was_tls) != (saved.shards, saved.tls):
        runtime.save(home, saved)
    servers = await _all_running(parts.all_of(home, saved), saved, recorded, progress)
    saved.ports = {record.name: record.port for record in servers}
    if ports != saved.ports:
        runtime.save(home, saved)
    running = runtime.build(home, saved, servers)
    if (recorded, names, was_tls) != ({record.name: record for record in servers}, saved.shards, saved.tls):
        runtime.write(home, saved, running)
    return running


async def _stop_postgres(home: Home, recorded: Mapping[str, ServerRecord]) -> None:
    part = parts.Postgres(home, Saved.empty())
    await asyncio.to_thread(part.stop, _running(part, recorded.get(part.name)))


async def new_master_key(state_dir: Path) -> int:
    """Make a new master key for a running stack and return its version; the older ones stay until nothing needs them.

    Raises:
        EmbeddedError: No stack runs there.
    """
    home = homes.resolve(state_dir)
    if not home.runtime.exists():
        raise EmbeddedError(f"no stack runs in {state_dir}", hint="Run `cloudlab up`.")
    with _explained(home):
        async with _locked(home):
            saved = runtime.load_saved(home)
            version = runtime.add_master_key(saved)
            runtime.save(home, saved)
            runtime.write(home, saved, runtime.build(home, saved, runtime.recorded(home).values()))
            return version


async def down(state_dir: Path, *, purge: bool = False) -> None:
    """Stop every server and wait until it is gone; with `purge`, delete the data, secrets and logs too."""
    home = homes.resolve(state_dir)
    if not home.lock.exists():
        # Never there, or deleted by hand: then servers may still run, and data may stand in /var/lib/cloudlab.
        await _stop_all(home)
        if home.data_dir == home.state_dir or not (purge and home.data_dir.exists()):
            return
        await asyncio.to_thread(homes.create, home, minimum_free_bytes=0)
    with _explained(home):
        async with _locked(home):
            await _stop_all(home)
            home.runtime.unlink(missing_ok=True)
            if purge:
                await asyncio.to_thread(homes.purge, home)


@contextmanager
def _explained(home: Home) -> Generator[None]:
    """Turn what the operating system refuses into an error with a remedy."""
    try:
        yield
    except OSError as error:
        raise EmbeddedError(
            f"{error.filename or home.data_dir}: {error.strerror or error}",
            hint="Check the disk, and who may write to the state directory.",
        ) from error


async def _stop_all(home: Home) -> None:
    recorded = runtime.recorded(home)

    def stop(part: Part) -> None:
        part.stop(_running(part, recorded.get(part.name)))

    await asyncio.gather(*(asyncio.to_thread(stop, part) for part in parts.all_of(home, Saved.empty())))


async def status(state_dir: Path) -> list[ServerStatus]:
    """Look at each server's process; about 30 ms, most of it for the memory figures."""
    home = homes.resolve(state_dir)
    return await asyncio.to_thread(_status, home)


def _status(home: Home) -> list[ServerStatus]:
    recorded = runtime.recorded(home)
    return [_status_of(part, recorded.get(part.name)) for part in parts.all_of(home, Saved.empty())]


def _status_of(part: Part, record: ServerRecord | None) -> ServerStatus:
    mark = _running(part, record)
    version = record.version if record else ""
    if mark is None:
        return ServerStatus(part.name, "crashed" if record else "stopped", None, "", version, 0)
    address = f"127.0.0.1:{record.port}" if record else ""
    return ServerStatus(part.name, "running", mark.pid, address, version, processes.memory_bytes(mark.pid))


def _check_programs(home: Home) -> None:
    """Find what is missing before anything is started; unpack at first what came packed."""
    find_binaries()
    valkey.find_binary(home.account)
    clickhouse.check_installed()


@asynccontextmanager
async def _locked(home: Home) -> AsyncGenerator[None]:
    """Hold the stack's lock; another `up` or `down` is waited for."""
    deadline = time.monotonic() + _LOCK_PATIENCE_SECONDS
    while True:
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A purge removes the file: a lock on what is no longer there would lock nobody out.
            if _is_at(descriptor, home.lock):
                break
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise EmbeddedError(
                    f"another process has been starting or stopping {home.state_dir} for minutes",
                    hint=f"See who holds {home.lock} (`fuser {home.lock}`), and try again.",
                ) from None
        os.close(descriptor)
        await asyncio.sleep(0.02)
    try:
        yield
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


async def _all_running(
    wanted: Sequence[Part], saved: Saved, recorded: Mapping[str, ServerRecord], tell: Callable[[str], None] | None
) -> list[ServerRecord]:
    """Bring up all of them at the same time; when one fails, stop those that were started for it."""

    async def one(part: Part) -> ServerRecord:
        started = time.monotonic()
        was = recorded.get(part.name)
        record = await asyncio.to_thread(_ensure, part, was, saved.ports.get(part.name))
        if tell:
            seconds = time.monotonic() - started
            tell(f"{part.name} {record.version} " + ("runs" if record == was else f"ready in {seconds:.2f} s"))
        return record

    results = await asyncio.gather(*map(one, wanted), return_exceptions=True)
    failed = [result for result in results if isinstance(result, BaseException)]
    if failed:
        stopping = (
            asyncio.to_thread(part.stop, result.mark)
            for part, result in zip(wanted, results, strict=True)
            if isinstance(result, ServerRecord) and recorded.get(part.name) != result
        )
        await asyncio.gather(*stopping)
        raise failed[0]
    return [result for result in results if isinstance(result, ServerRecord)]


def _ensure(part: Part, record: ServerRecord | None, port: int | None) -> ServerRecord:
    """Leave a server that runs and answers alone; start it otherwise."""
    mark = _running(part, record)
    if mark is None or port is None or not part.answers(mark, port):
        part.stop(mark)
        mark, port = part.start(port)
    return ServerRecord(part.name, mark, port, part.prepare(port))


def _running(part: Part, record: ServerRecord | None) -> Mark | None:
    """Return the server's process: the one written down if it is still that, else one found by its command line."""
    if record and processes.alive(record.mark, part.identity):
        return record.mark
    return processes.find(part.identity)
