"""Up, down, status and verify, over any store that can keep a history: PostgreSQL's and ClickHouse's.

The runner decides what runs and in which order; the store knows how one migration runs and is recorded there.

Standard: §6.1 Versioned Migrations
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from cloudlab.schema import history
from cloudlab.schema.files import Migration, Section
from cloudlab.schema.history import Entry, MigrationStatus, State


class Direction(StrEnum):
    """Which section of a file runs."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Applied:
    """One migration that ran, or in a dry run would run; `seconds` is None in a dry run."""

    version: str
    title: str
    direction: Direction
    sql: str = field(repr=False)
    seconds: float | None = None


Progress = Callable[[Applied], None]


STOPPING = frozenset(State) - {State.APPLIED, State.PENDING, State.RESUMABLE}
"""How a migration may not stand when others are to be applied."""


class Store(Protocol):
    """Where migrations are applied: one schema of a PostgreSQL database, or one ClickHouse database."""

    @property
    def where(self) -> str:
        """What errors call this place."""
        ...

    @property
    def resumes(self) -> bool:
        """Whether a half-applied file may simply be run again."""
        ...

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """Keep every other runner out; TimedOut when one does not end."""
        ...

    async def prepare(self) -> None:
        """Create the place and its `schema_migrations` when they are missing."""
        ...

    async def entries(self) -> list[Entry]:
        """Return the rows of `schema_migrations`; none when it is missing."""
        ...

    async def apply(self, migration: Migration, section: Section, direction: Direction) -> None:
        """Run one section and record it; MigrationError names file and line."""
        ...


async def up(
    store: Store,
    files: Sequence[Migration],
    *,
    to: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> list[Applied]:
    """Apply what is pending, oldest first, up to and including version `to`.

    Args:
        store: Where.
        files: The whole tree, as `files.load` returned it.
        to: The last version wanted; by default all.
        dry_run: Change nothing, only return what would run.
        progress: Called after each migration.

    Raises:
        ChecksumChanged: A file that was applied is changed or gone; nothing was run.
        MigrationError: A file is out of order, half-applied, or a statement failed; what ran before it stays.
        TimedOut: Another runner works on this database, or a table stays locked.
    """
    if dry_run:
        return _dry(history.plan_up(files, await _checked(store, files, Direction.UP), to), Direction.UP)
    async with store.exclusive():
        await store.prepare()
        plan = history.plan_up(files, await _checked(store, files, Direction.UP), to)
        return [await _run(store, migration, Direction.UP, progress) for migration in plan]


async def down(
    store: Store,
    files: Sequence[Migration],
    *,
    steps: int = 1,
    to: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> list[Applied]:
    """Take back the newest `steps` migrations, or all after version `to` (0: every one); their data is lost.

    A half-applied migration is taken back too, by its down section, which therefore says IF EXISTS. Raises as
    `up` does.
    """
    if dry_run:
        return _dry(history.plan_down(files, await _checked(store, files, Direction.DOWN), steps, to), Direction.DOWN)
    async with store.exclusive():
        plan = history.plan_down(files, await _checked(store, files, Direction.DOWN), steps, to)
        return [await _run(store, migration, Direction.DOWN, progress) for migration in plan]


async def status(store: Store, files: Sequence[Migration]) -> list[MigrationStatus]:
    """Return how every migration stands, by version. Locks nothing, raises for no disagreement."""
    return history.compare(files, await store.entries())


async def verify(store: Store, files: Sequence[Migration]) -> None:
    """Raise ChecksumChanged or MigrationError unless this place holds exactly these files, none pending."""
    statuses = await status(store, files)
    history.refuse(statuses, states=set(State) - {State.APPLIED}, where=store.where)


async def _checked(store: Store, files: Sequence[Migration], direction: Direction) -> list[MigrationStatus]:
    statuses = await status(store, files)
    may_resume = direction is Direction.DOWN or store.resumes
    history.refuse(statuses, states=STOPPING - {State.INTERRUPTED} if may_resume else STOPPING, where=store.where)
    return statuses


async def _run(store: Store, migration: Migration, direction: Direction, progress: Progress | None) -> Applied:
    section = _section(migration, direction)
    started = time.perf_counter()
    await store.apply(migration, section, direction)
    done = Applied(migration.version, migration.title, direction, section.sql, time.perf_counter() - started)
    if progress:
        progress(done)
    return done


def _dry(plan: Sequence[Migration], direction: Direction) -> list[Applied]:
    return [planned(one, direction) for one in plan]


def planned(migration: Migration, direction: Direction = Direction.UP) -> Applied:
    """Return what a dry run says of a migration."""
    return Applied(migration.version, migration.title, direction, _section(migration, direction).sql)


def _section(migration: Migration, direction: Direction) -> Section:
    return migration.up if direction is Direction.UP else migration.down
