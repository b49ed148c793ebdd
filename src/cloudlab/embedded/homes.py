"""Where the files of a stack stand.

As an ordinary user everything lives in the state directory. As root the servers run under an unprivileged account, and
that account must be able to walk to its files: below /root or in a private temporary folder it is not, so the data then
stands in /var/lib/cloudlab and the state directory says where.

Root never writes through a name that the unprivileged account could have planted: files are made new and renamed.
"""

import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cloudlab.config import RUNTIME_FILE
from cloudlab.embedded.accounts import Account, can_reach, owner_of, unprivileged
from cloudlab.errors import EmbeddedError

SERVER_ROOT = Path("/var/lib/cloudlab")
RUN_ROOT = Path("/run/cloudlab")
CACHE_ROOT = Path("/var/cache/cloudlab")
MINIMUM_FREE_BYTES = 512 << 20
SERVERS = ("postgres", "valkey", "clickhouse")
_NOTE = "data-directory"
# A socket's path ends at 108 bytes on Linux and 104 elsewhere; the longest name in the folder is `.s.PGSQL.65535.lock`.
_MAX_SOCKET_DIR_BYTES = 80


@dataclass(frozen=True, slots=True)
class Home:
    """Where everything of one stack stands, and the account its servers run under (None: the caller's own)."""

    state_dir: Path
    data_dir: Path
    socket_dir: Path
    account: Account | None

    @property
    def logs(self) -> Path:
        """The servers' logs."""
        return self.state_dir / "logs"

    @property
    def lock(self) -> Path:
        """Held while the stack is started or stopped; its presence says that this is a state directory."""
        return self.state_dir / "cloudlab.lock"

    @property
    def runtime(self) -> Path:
        """How the running stack is reached; there while the stack runs, or has crashed."""
        return self.state_dir / RUNTIME_FILE

    @property
    def tls_dir(self) -> Path:
        """The certificates of PostgreSQL."""
        return self.data_dir / "postgres" / "tls"

    @property
    def saved(self) -> Path:
        """Secrets, ports and shards: what must outlive the servers."""
        return self.data_dir / "stack.json"


def resolve(state_dir: Path) -> Home:
    """Work out where a stack stands, without creating anything.

    Raises:
        EmbeddedError: The note about the data directory points outside of /var/lib/cloudlab.
    """
    state_dir = Path(os.path.realpath(state_dir))
    digest = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:12]
    account, elsewhere = unprivileged(), SERVER_ROOT / digest
    note = state_dir / _NOTE
    if note.exists():
        data_dir = Path(note.read_text().strip())
        if data_dir.parent != SERVER_ROOT:
            raise EmbeddedError(f"{note} names {data_dir}, which is not a folder of {SERVER_ROOT}")
    elif account is None or (state_dir / "postgres").exists():
        data_dir = state_dir
    else:
        nearest = next(folder for folder in (state_dir, *state_dir.parents) if folder.exists())
        reachable = can_reach(account, nearest) and not elsewhere.exists()
        data_dir = state_dir if reachable else elsewhere
    return Home(state_dir, data_dir, _socket_dir(data_dir, digest), owner_of(data_dir / "postgres") or account)


def _socket_dir(data_dir: Path, digest: str) -> Path:
    inside = data_dir / "run"
    if len(os.fsencode(inside)) <= _MAX_SOCKET_DIR_BYTES:
        return inside
    if os.geteuid() == 0:
        return RUN_ROOT / digest
    return Path(tempfile.gettempdir()) / f"cloudlab-{os.geteuid()}-{digest}"


def create(home: Home, *, minimum_free_bytes: int = MINIMUM_FREE_BYTES) -> None:
    """Make the folders of a stack, each with the least permissions that work.

    Raises:
        EmbeddedError: A folder cannot be made or written, is somebody else's, or holds other things already; or the
            disk has less than `minimum_free_bytes` free.
    """
    try:
        _create_state_dir(home)
        if home.data_dir != home.state_dir:
            home.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
            SERVER_ROOT.chmod(0o711)
            home.data_dir.chmod(0o711)
            (home.state_dir / _NOTE).write_text(f"{home.data_dir}\n")
        if home.socket_dir.parent == RUN_ROOT:
            RUN_ROOT.mkdir(mode=0o711, exist_ok=True)
            RUN_ROOT.chmod(0o711)
        private(home.logs, None)
        private(home.socket_dir, home.account)
        for name in SERVERS:
            private(home.data_dir / name, home.account)
    except OSError as error:
        raise EmbeddedError(
            f"cannot write to {error.filename or home.state_dir}: {error.strerror}",
            hint="Choose a folder you may write to: CLOUDLAB_STATE_DIR=/some/where cloudlab up.",
        ) from error
    free = shutil.disk_usage(home.data_dir).free
    if free < minimum_free_bytes:
        raise EmbeddedError(
            f"{home.data_dir} has {free >> 20} MiB of free disk space, {minimum_free_bytes >> 20} MiB are needed",
            hint="Free some space, or choose another disk: CLOUDLAB_STATE_DIR=/some/where cloudlab up.",
        )


def _create_state_dir(home: Home) -> None:
    folder = home.state_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise EmbeddedError(
            f"{folder} belongs to user {folder.stat().st_uid}",
            hint="Start the stack as that user, or choose another folder with CLOUDLAB_STATE_DIR.",
        )
    # In this order: another `up` may be making the folder right now, and the lock is the first thing it makes.
    if any(folder.iterdir()) and not home.lock.exists():
        raise EmbeddedError(
            f"{folder} holds other things than a CloudLab stack",
            hint="Choose an empty or a new folder with CLOUDLAB_STATE_DIR.",
        )
    home.lock.touch(mode=0o600)
    (folder / ".gitignore").write_text("*\n")
    folder.chmod(0o711 if home.account and home.data_dir == folder else 0o700)


def private(folder: Path, account: Account | None) -> None:
    """Make a folder that only its account may enter; refuse one that somebody else has put there."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    mine = {os.geteuid(), account.uid if account else os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in mine:
        raise EmbeddedError(f"{folder} belongs to user {found.st_uid}, not to the servers of this stack")
    if account and (found.st_uid, found.st_gid) != (account.uid, account.gid):
        os.lchown(folder, account.uid, account.gid)
    if stat.S_IMODE(found.st_mode) != 0o700:
        folder.chmod(0o700)


def write_private(path: Path, text: str, account: Account | None = None) -> None:
    """Replace a file in one step, mode 0600: a reader sees the old one or the new one, never half of it."""
    work = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
        if account:
            os.fchown(descriptor, account.uid, account.gid)
    work.replace(path)


def purge(home: Home) -> None:
    """Delete everything that `create` and the servers have made, and nothing else.

    Raises:
        EmbeddedError: This is not a state directory.
    """
    if not home.lock.exists():
        raise EmbeddedError(f"{home.state_dir} is not the folder of a CloudLab stack; nothing was deleted")
    for folder in [home.socket_dir, *(home.data_dir / name for name in SERVERS), home.logs]:
        if folder.exists():
            shutil.rmtree(folder)
    for file in (home.runtime, home.saved, home.state_dir / _NOTE, home.state_dir / ".gitignore", home.lock):
        file.unlink(missing_ok=True)
    for folder in (home.data_dir, home.state_dir):
        # What somebody else has put there stays, and with it the folder.
        with suppress(OSError):
            folder.rmdir()


def cache_dir() -> Path:
    """Return the folder for unpacked programs, made if need be: one for the machine as root, else one for the user."""
    if os.geteuid() == 0:
        CACHE_ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
        CACHE_ROOT.chmod(0o755)
        return CACHE_ROOT
    configured = os.environ.get("XDG_CACHE_HOME")
    chosen = Path(configured) if configured else Path("~/.cache").expanduser()
    try:
        (chosen / "cloudlab").mkdir(parents=True, exist_ok=True)
    except OSError:  # an account without a home
        chosen = Path(tempfile.gettempdir()) / f"cloudlab-{os.geteuid()}-cache"
        private(chosen, None)
        (chosen / "cloudlab").mkdir(exist_ok=True)
    return chosen / "cloudlab"
