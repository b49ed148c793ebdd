"""What was applied against what is on disk: compared, refused when they disagree, and what runs next.

Pure functions over the files and the rows of `schema_migrations`; PostgreSQL and ClickHouse share them.

Standard: §6.1 Migration Tracking
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cloudlab.errors import ChecksumChanged, MigrationError
from cloudlab.schema.files import ONLINE, Migration


class State(StrEnum):
    """How one migration stands; all but APPLIED, PENDING and RESUMABLE stop the runner."""

    APPLIED = "applied"
    PENDING = "pending"
    INTERRUPTED = "interrupted"
    RESUMABLE = "resumable"
    CHANGED = "changed"
    MISSING = "missing"
    OUT_OF_ORDER = "out of order"


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of `schema_migrations`; `running_statement` counts from 1, None when the migration is whole."""

    version: str
    applied_at: datetime
    checksum: str
    description: str
    direction: str = "up"
    running_statement: int | None = None


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """One migration: how it stands, since when, and for a disagreement what is wrong."""

    version: str
    title: str
    state: State
    applied_at: datetime | None = None
    problem: str = ""


def compare(files: Sequence[Migration], entries: Sequence[Entry]) -> list[MigrationStatus]:
    """Return the standing of every migration that is on disk or was applied, by version."""
    applied = {entry.version: entry for entry in entries}
    newest = max((int(entry.version) for entry in entries), default=0)
    statuses = [_standing(file, applied.pop(file.version, None), newest) for file in files]
    where = files[0].path.parent if files else "the migrations"
    for entry in applied.values():
        problem = f"{entry.version} ({entry.description}) was applied, but its file is not in {where}"
        statuses.append(MigrationStatus(entry.version, entry.description, State.MISSING, entry.applied_at, problem))
    return sorted(statuses, key=lambda status: int(status.version))


def _standing(file: Migration, entry: Entry | None, newest: int) -> MigrationStatus:
    state, problem = State.APPLIED, ""
    if entry is None and file.number < newest:
        state, problem = State.OUT_OF_ORDER, f"{file.path.name} is not applied, but the later {newest:03} is"
    elif entry is None:
        state = State.PENDING
    elif entry.running_statement is not None:
        # What was being taken back goes on by `down` alone: `up` would expand what is being rolled back.
        forth = entry.direction == "up" and resumes(file, entry)
        state = State.RESUMABLE if forth else State.INTERRUPTED
        problem = _interruption(file, entry.direction, entry.running_statement)
    elif entry.checksum != file.checksum:
        state = State.CHANGED
        was, now = entry.checksum[:12], file.checksum[:12]
        problem = f"{file.path.name} was changed after it was applied: checksum {was}… is now {now}…"
    return MigrationStatus(file.version, file.title, state, entry.applied_at if entry else None, problem)


def resumes(file: Migration, entry: Entry) -> bool:
    """Whether a half-applied file can simply go on: it was killed in an online operation, and is as it was."""
    number = (entry.running_statement or 0) - 1
    statements = (file.up if entry.direction == "up" else file.down).statements
    return 0 <= number < len(statements) and statements[number].words == (ONLINE,) and entry.checksum == file.checksum


def _interruption(file: Migration, direction: str, number: int) -> str:
    statements = (file.up if direction == "up" else file.down).statements
    line = f", line {statements[number - 1].line}" if number <= len(statements) else ""
    return f"{file.path.name} is half-applied: its way {direction} ended in statement {number}{line}"


def refuse(statuses: Sequence[MigrationStatus], *, states: AbstractSet[State], where: str) -> None:
    """Raise when any migration is in one of `states`, with every such problem in one message.

    Raises:
        ChecksumChanged: An applied file was changed or removed.
        MigrationError: One is half-applied or out of order; the hint says what to do.
    """
    bad = [status for status in statuses if status.state in states]
    if not bad:
        return
    message = f"{where}: " + "; ".join(status.problem or f"{status.version} is {status.state}" for status in bad)
    found = {status.state for status in bad}
    if found & {State.CHANGED, State.MISSING}:
        raise ChecksumChanged(message)
    if State.INTERRUPTED in found:
        hint = "See what it left, undo it with `cloudlab migrate down` for this target, then run `up` again."
    elif State.OUT_OF_ORDER in found:
        hint = "Give the new file a number after the last one applied."
    else:
        hint = "Run `cloudlab migrate up`."
    raise MigrationError(message, hint=hint)


def plan_up(files: Sequence[Migration], statuses: Sequence[MigrationStatus], to: int | None) -> list[Migration]:
    """Return what `up` has to apply, oldest first.

    Raises:
        MigrationError: There is no version `to`.
    """
    _known(files, to)
    open_versions = {
        one.version for one in statuses if one.state in {State.PENDING, State.INTERRUPTED, State.RESUMABLE}
    }
    return [file for file in files if file.version in open_versions and (to is None or file.number <= to)]


def plan_down(
    files: Sequence[Migration], statuses: Sequence[MigrationStatus], steps: int, to: int | None
) -> list[Migration]:
    """Return what `down` has to take back, newest first: `steps` of them, or all after version `to` (0: all).

    Raises:
        MigrationError: There is no version `to`.
    """
    _known(files, to or None)
    there = {one.version for one in statuses if one.state in {State.APPLIED, State.INTERRUPTED, State.RESUMABLE}}
    applied = [file for file in reversed(files) if file.version in there]
    return applied[:steps] if to is None else [file for file in applied if file.number > to]


def _known(files: Sequence[Migration], to: int | None) -> None:
    if to is not None and to not in {file.number for file in files}:
        last = files[-1].version if files else "none"
        raise MigrationError(
            f"there is no migration {to:03}; the last one is {last}", hint="See `cloudlab migrate status`."
        )
