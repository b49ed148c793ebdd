"""The operating system account that servers run under when root starts them: PostgreSQL refuses to run as root."""

import os
import pwd
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloudlab.errors import EmbeddedError


@dataclass(frozen=True, slots=True)
class Account:
    """An operating system account."""

    name: str
    uid: int
    gid: int


def unprivileged(environ: Mapping[str, str] = os.environ) -> Account | None:
    """Return the account for servers started by root: CLOUDLAB_OS_USER, else the first of cloudlab, postgres, nobody.

    None when the caller is not root: the servers are the caller's own.

    Raises:
        EmbeddedError: CLOUDLAB_OS_USER names no account, or root itself.
    """
    if os.geteuid() != 0:
        return None
    named = environ.get("CLOUDLAB_OS_USER")
    for name in [named] if named else ["cloudlab", "postgres", "nobody"]:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedError(
        f"no unprivileged account to run the servers under: {named or 'cloudlab, postgres, nobody'}",
        hint="PostgreSQL refuses to run as root. Create one with `useradd --system cloudlab`, or set CLOUDLAB_OS_USER.",
    )


def owner_of(folder: Path) -> Account | None:
    """Return who owns existing data, when root asks: the account chosen at first stays the account of that data."""
    if os.geteuid() != 0 or not folder.exists():
        return None
    found = folder.stat()
    return Account(f"user {found.st_uid}", found.st_uid, found.st_gid) if found.st_uid else None


def can_reach(account: Account | None, path: Path) -> bool:
    """Tell whether the account may walk to `path`: the search permission on it and on every folder above."""
    if account is None:
        return os.access(path, os.X_OK)
    for folder in (path, *path.parents):
        try:
            found = folder.stat()
        except OSError:
            continue
        if found.st_uid == account.uid:
            needed = stat.S_IXUSR
        elif found.st_gid == account.gid:
            needed = stat.S_IXGRP
        else:
            needed = stat.S_IXOTH
        if not found.st_mode & needed:
            return False
    return True
