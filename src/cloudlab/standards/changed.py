"""Which files have changed since a commit, as git says."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from cloudlab.errors import InvalidInput
from cloudlab.standards.rule import Finding


def files(since: str, folder: Path) -> frozenset[Path]:
    """Return the files that were added or changed since a commit, committed or not.

    Raises:
        InvalidInput: There is no such commit, no repository, or no git.
    """
    top = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
    changed = _git(folder, "diff", "--name-only", "--no-renames", "--diff-filter=AM", "-z", since, "--")
    new = _git(folder, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", str(top))
    return frozenset((top / name).resolve() for name in (changed + new).split("\0") if name)


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)  # noqa: S607
    except FileNotFoundError as error:
        raise InvalidInput("--since needs git, which is not installed") from error
    if done.returncode:
        raise InvalidInput(f"git {arguments[0]}: {done.stderr.strip()}", hint="Name a commit, a tag or a branch.")
    return done.stdout


def only(findings: Sequence[Finding], chosen: frozenset[Path]) -> Sequence[Finding]:
    """Return the findings in files that have changed, and those that are in no file."""
    resolved: dict[str, bool] = {}
    for finding in findings:
        source = finding.at.source
        if source not in resolved:
            path = Path(source)
            resolved[source] = not path.exists() or path.resolve() in chosen
    return [finding for finding in findings if resolved[finding.at.source]]
