"""The embedded PostgreSQL server: its cluster is created, started and stopped here, durable unless asked otherwise.

These functions block (creating takes 0.7 s, starting 0.1 s); the stack runs them in threads. They serve for throw-away
clusters as well:

    with postgres.temporary() as server:                    # fsync off, everything deleted at the end
        psycopg.connect(server.url("postgres"))

Standard: §9.1 Encryption in Transit
"""

import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from psycopg import pq

from cloudlab.embedded import processes
from cloudlab.embedded.accounts import Account, can_reach, unprivileged
from cloudlab.embedded.homes import write_private
from cloudlab.embedded.network import free_port, is_free
from cloudlab.embedded.postgres_binaries import PostgresBinaries, find_binaries
from cloudlab.embedded.postgres_remains import PID_FILE, clear_half_made, clear_killed, clear_sockets
from cloudlab.embedded.postgres_settings import postgresql_conf
from cloudlab.embedded.processes import Identity, Mark
from cloudlab.errors import EmbeddedError

__all__ = [
    "PostgresBinaries", "PostgresServer", "answers", "find_binaries", "identity", "initialise", "start", "stop",
    "temporary",
]  # fmt: skip

SUPERUSER = "postgres"
_STOP = ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))
_SILENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server: which process it is and where it listens."""

    data_dir: Path
    socket_dir: Path
    port: int
    mark: Mark
    password: str = field(default="", repr=False)

    def url(self, database: str, user: str = SUPERUSER, password: str | None = None) -> str:
        """Return the URL of a database over the unix socket; without a user, as superuser."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@/{database}?host={quote(str(self.socket_dir), safe='')}&port={self.port}"


def identity(data_dir: Path) -> Identity:
    """Return how the server of this cluster is recognised among all processes."""
    return Identity(("postgres",), str(data_dir))


def initialise(
    binaries: PostgresBinaries, data_dir: Path, *, password: str, account: Account | None = None, volatile: bool = False
) -> None:
    """Create a cluster with checksums, the builtin C.UTF-8 locale and scram for every connection, local ones too.

    It is created beside its final place and renamed, so a cluster that was left half-made is never taken for a whole
    one, and is made again. `volatile` skips the sync to disk (0.3 s).

    Raises:
        EmbeddedError: initdb failed; the details carry what it said.
    """
    _executable_for(account, binaries)
    clear_half_made(data_dir)
    work = data_dir.with_name(f"{data_dir.name}.new-{secrets.token_hex(4)}")
    password_file = data_dir.with_name(f"{data_dir.name}.password")
    locale = ["--locale-provider=builtin", "--locale=C.UTF-8"] if binaries.version >= 17 else ["--locale=C.UTF-8"]
    try:
        write_private(password_file, password, account)
        command = [
            binaries.program("initdb"), "--pgdata", str(work), "--username", SUPERUSER, "--pwfile", str(password_file),
            "--auth", "scram-sha-256", "--data-checksums", "--encoding", "UTF8", "--no-instructions", *locale,
            *(["--no-sync"] if volatile else []),
        ]  # fmt: skip
        env = binaries.environment(processes.environment(data_dir.parent))
        processes.run(command, env=env, account=account)
        work.rename(data_dir)
    finally:
        password_file.unlink(missing_ok=True)


def _executable_for(account: Account | None, binaries: PostgresBinaries) -> None:
    if not can_reach(account, binaries.bin_dir):
        who = account.name if account else "this user"
        raise EmbeddedError(
            f"{who} may not execute the programs in {binaries.bin_dir}",
            hint=f"Make the folder and those above it searchable: chmod o+x {binaries.bin_dir}.",
        )


def start(
    binaries: PostgresBinaries,
    data_dir: Path,
    *,
    socket_dir: Path,
    log: Path,
    port: int | None = None,
    account: Account | None = None,
    password: str = "",
    volatile: bool = False,
    settings: Mapping[str, str] | None = None,
    timeout_seconds: float = 120.0,
) -> PostgresServer:
    """Start the server and wait until it accepts connections, through crash recovery if there was a crash.

    Args:
        binaries: The programs; their major version must be the cluster's.
        data_dir: The cluster.
        socket_dir: Where its unix socket goes; the path must be short (see accounts).
        log: The file both outputs are appended to.
        port: The port to prefer; a free one is taken when it is busy.
        account: The account to run as, when the caller is root.
        password: The superuser's, only to be carried in the result.
        volatile: Give up durability for speed: for tests of anything but crashes.
        settings: More settings, which win over ours.
        timeout_seconds: How long recovery may take.

    Raises:
        EmbeddedError: It did not start; the details carry the end of its log.
    """
    _right_version(binaries, data_dir)
    _executable_for(account, binaries)
    for _ in range(3):
        port = free_port(port)
        text = postgresql_conf(socket_dir, port, volatile=volatile, more=settings or {})
        write_private(data_dir / "postgresql.conf", text, account)
        clear_killed(data_dir)
        clear_sockets(socket_dir, data_dir)
        mark = processes.spawn(
            [binaries.program("postgres"), "-D", str(data_dir)],
            log=log,
            env=binaries.environment(processes.environment(data_dir)),
            account=account,
            identity=identity(data_dir),
        )
        if mark and _wait_ready(data_dir, mark, timeout_seconds):
            return PostgresServer(data_dir, socket_dir, port, mark, password)
        if is_free(port):
            break
    raise EmbeddedError(f"PostgreSQL did not start on {data_dir}", details=processes.log_tail(log))


def _right_version(binaries: PostgresBinaries, data_dir: Path) -> None:
    made_by = (data_dir / "PG_VERSION").read_text().strip()
    if made_by != str(binaries.version):
        raise EmbeddedError(
            f"the data in {data_dir} was made by PostgreSQL {made_by}; the programs found are {binaries.full_version}",
            hint=f"Set CLOUDLAB_PG_BIN to the programs of PostgreSQL {made_by}, or dump, purge and restore the data.",
        )


def _wait_ready(data_dir: Path, mark: Mark, timeout_seconds: float) -> bool:
    """Wait until the server writes `ready` into the eighth line of its pid file; False when it ended instead."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError, IndexError):
            lines = (data_dir / PID_FILE).read_text().splitlines()
            if int(lines[0]) == mark.pid and lines[7].strip() == "ready":
                return True
        if not processes.alive(mark, identity(data_dir)):
            return False
        time.sleep(0.01)
    stop(data_dir, mark)
    return False


def answers(server: PostgresServer, timeout_seconds: float = 120.0) -> bool:
    """Tell whether the server takes connections, waiting while it starts or recovers; False when nobody listens.

    While it restarts its backends after a crash of one, it closes connections without a word: such silence is given
    a few seconds before it is taken for death.
    """
    socket = server.socket_dir / f".s.PGSQL.{server.port}"
    deadline, patience = time.monotonic() + timeout_seconds, time.monotonic() + _SILENCE_SECONDS
    while (said := pq.PGconn.ping(server.url("postgres").encode())) != pq.Ping.OK:
        now = time.monotonic()
        if now > deadline or (said != pq.Ping.REJECT and (now > patience or not socket.exists())):
            return False
        time.sleep(0.02)
    return True


def stop(data_dir: Path, mark: Mark | None) -> None:
    """Stop a server by a fast shutdown: open transactions are rolled back, everything is written.

    Without a mark, only what a killed server left behind is cleared.
    """
    if mark:
        processes.stop(mark, identity(data_dir), _STOP)
    clear_half_made(data_dir)
    if data_dir.exists():
        clear_killed(data_dir)


@contextmanager
def temporary(*, volatile: bool = True, settings: Mapping[str, str] | None = None) -> Generator[PostgresServer]:
    """Run a cluster of its own in a temporary folder and delete it at the end: about 0.7 s in all.

    Args:
        volatile: fsync off; say False where crashes are tested.
        settings: Settings that win over the stack's.
    """
    binaries, account = find_binaries(), unprivileged()
    # Not $TMPDIR: the path of a socket must be short, and the account must be able to walk to it.
    home = Path(tempfile.mkdtemp(prefix="cloudlab-", dir="/tmp"))
    if account:
        shutil.chown(home, account.uid, account.gid)
    data_dir, password = home / "data", secrets.token_urlsafe(24)
    try:
        initialise(binaries, data_dir, password=password, account=account, volatile=volatile)
        server = start(
            binaries, data_dir, socket_dir=home, log=home / "log", account=account, password=password,
            volatile=volatile, settings=settings,
        )  # fmt: skip
        try:
            yield server
        finally:
            stop(data_dir, processes.find(identity(data_dir)))
    finally:
        shutil.rmtree(home)
