"""Migrating many places: up, down, status, verify, redo and baseline, in the order of the places.

Standard: §6.1 Versioned Migrations, §4.1 Tenant-Specific Schemas
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from cloudlab.errors import CloudLabError, MigrationError
from cloudlab.schema import adopting, clickhouse, fanout, runner
from cloudlab.schema.adopting import Adopted
from cloudlab.schema.files import Tree
from cloudlab.schema.history import MigrationStatus
from cloudlab.schema.locks import Connection, Waits, one_runner
from cloudlab.schema.places import Target
from cloudlab.schema.postgres import PostgresStore, Reasons, connect
from cloudlab.schema.runner import Applied, Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What was done, or in a dry run would be done, in one place; `error` is what stopped it there."""

    target: Target
    applied: list[Applied]
    error: CloudLabError | None = None


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """How the migrations of one place stand."""

    target: Target
    migrations: list[MigrationStatus]


Report = Callable[[Target, Applied], None]


async def migrate_all(
    targets: Sequence[Target],
    *,
    to: int | None = None,
    dry_run: bool = False,
    keep_going: bool = False,
    connections: int = fanout.CONNECTIONS,
    progress: Report | None = None,
    reasons: Reasons | None = None,
) -> list[TargetResult]:
    """Bring every place up to date. Running it again continues where a failure stopped it.

    Args:
        targets: Where, as `places` returns them.
        to: The last version wanted; the targets must then be of one tree.
        dry_run: Change nothing, only return what would run.
        keep_going: After a place has failed, go on with the others of its kind; its result then bears the error.
        connections: How many schemas of one database are migrated at once.
        progress: Called after each migration.
        reasons: For files that are dangerous: why they run nevertheless; noted in `schema_migrations`.

    Raises:
        MigrationError: See `runner.up`; places before the failing one stay migrated.

    Cost: see `fanout.up` for many schemas of a database.
    """
    _one_tree(targets, to)
    results: list[TargetResult] = []
    async with _open_stores(reasons) as stores:
        for (url, source), group in groupby(targets, lambda target: (target.url, target.source)):
            places = list(group)
            if source is Tree.CLICKHOUSE or len(places) == 1:
                for place in places:
                    results.append(await _up_one(await stores.of(place), place, to, dry_run, keep_going, progress))
                continue
            by_schema = {place.schema: place for place in places}
            outcomes = await fanout.up(
                url,
                places[0].files,
                list(by_schema),
                to=to,
                dry_run=dry_run,
                keep_going=keep_going,
                connections=connections,
                told=_tell_each(by_schema, progress),
                reasons=reasons,
            )
            results += [TargetResult(by_schema[one.schema], one.applied, one.error) for one in outcomes]
            _raise_first(results, keep_going)
    return results


def _raise_first(results: Sequence[TargetResult], keep_going: bool) -> None:
    failed = [result.error for result in results if result.error]
    if failed and not keep_going:
        raise failed[0]


def _tell_each(by_schema: dict[str, Target], progress: Report | None) -> fanout.Told:
    def told(outcome: fanout.Outcome) -> None:
        for applied in outcome.applied if progress else ():
            assert progress
            progress(by_schema[outcome.schema], applied)

    return told


async def _up_one(
    store: Store, target: Target, to: int | None, dry_run: bool, keep_going: bool, progress: Report | None
) -> TargetResult:
    applied: list[Applied] = []

    def note(one: Applied) -> None:
        applied.append(one)
        if progress:
            progress(target, one)

    try:
        return TargetResult(target, await runner.up(store, target.files, to=to, dry_run=dry_run, progress=note))
    except CloudLabError as error:
        if not keep_going:
            raise
        return TargetResult(target, applied, error)


async def revert(
    targets: Sequence[Target],
    *,
    steps: int = 1,
    to: int | None = None,
    dry_run: bool = False,
    progress: Report | None = None,
    reasons: Reasons | None = None,
) -> list[TargetResult]:
    """Take back the newest `steps` migrations of every place, or all after version `to` (0: every one).

    The data in them is lost. The targets must be of one tree. Errors are those of `migrate_all`; `reasons` go to the
    server's log, as the row of what is taken back goes too.
    """
    _one_tree(targets, to)

    async def down(store: Store, target: Target) -> TargetResult:
        tell = _told(target, progress)
        done = await runner.down(store, target.files, steps=steps, to=to, dry_run=dry_run, progress=tell)
        return TargetResult(target, done)

    return await _each(targets, down, reasons)


async def redo(
    targets: Sequence[Target],
    *,
    dry_run: bool = False,
    progress: Report | None = None,
    reasons: Reasons | None = None,
) -> list[TargetResult]:
    """Take the newest migration of every place back and apply it again; the data in it is lost.

    Errors are those of `migrate_all`; a migration that was taken back and cannot be applied is pending then.
    """

    async def again(store: Store, target: Target) -> TargetResult:
        tell = _told(target, progress)
        back = await runner.down(store, target.files, dry_run=dry_run, progress=tell)
        if dry_run:
            ahead = [runner.planned(file) for file in target.files for one in back if file.version == one.version]
            return TargetResult(target, back + ahead)
        forth = await runner.up(store, target.files, to=int(back[0].version), progress=tell) if back else []
        return TargetResult(target, back + forth)

    return await _each(targets, again, reasons)


async def baseline(targets: Sequence[Target], *, to: int, dry_run: bool = False) -> list[tuple[Target, Adopted]]:
    """Take databases over that are migrated already: note versions up to `to` as applied, running nothing.

    Raises:
        MigrationError: A place has a history of ours already, or there is no version `to`.
    """

    async def adopt(store: Store, target: Target) -> tuple[Target, Adopted]:
        if not isinstance(store, PostgresStore):
            raise MigrationError("only PostgreSQL databases are taken over", hint="Name another target.")
        return target, await adopting.adopt(store, target.files, to=to, dry_run=dry_run)

    return await _each(targets, adopt)


async def status_all(targets: Sequence[Target]) -> list[TargetStatus]:
    """Return how every migration of every place stands; raises for no disagreement."""

    async def status(store: Store, target: Target) -> TargetStatus:
        return TargetStatus(target, await runner.status(store, target.files))

    return await _each(targets, status)


async def verify_all(targets: Sequence[Target]) -> None:
    """Raise ChecksumChanged or MigrationError for the first place that does not hold exactly our files."""

    async def verify(store: Store, target: Target) -> None:
        await runner.verify(store, target.files)

    await _each(targets, verify)


def _one_tree(targets: Sequence[Target], to: int | None) -> None:
    if to and len({target.source for target in targets}) > 1:
        raise MigrationError(
            f"version {to:03} is something else in each tree",
            hint="Name the tree: control, shard, tenant or clickhouse.",
        )


def _told(target: Target, progress: Report | None) -> runner.Progress | None:
    return (lambda applied: progress(target, applied)) if progress else None


async def _each(
    targets: Iterable[Target], act: Callable[[Store, Target], Awaitable[T]], reasons: Reasons | None = None
) -> list[T]:
    """Do something in each place in turn, over one connection per database."""
    async with _open_stores(reasons) as stores:
        return [await act(await stores.of(target), target) for target in targets]


@asynccontextmanager
async def _open_stores(reasons: Reasons | None = None) -> AsyncGenerator["_Stores"]:
    async with AsyncExitStack() as stack:
        yield _Stores(stack, reasons)


class _Stores:
    """Stores of the targets, sharing one connection per database; a thousand tenants need no thousand logins."""

    def __init__(self, stack: AsyncExitStack, reasons: Reasons | None) -> None:
        self._stack, self._reasons = stack, reasons
        self._connections: dict[str, Connection] = {}

    async def of(self, target: Target) -> Store:
        if target.source is Tree.CLICKHOUSE:
            lock = one_runner(await self._connection(target.lock_url), Waits().runner_seconds)
            return await self._stack.enter_async_context(clickhouse.connect(target.url, lock))
        return PostgresStore(await self._connection(target.url), target.schema, reasons=self._reasons)

    async def _connection(self, url: str) -> Connection:
        if url not in self._connections:
            self._connections[url] = await self._stack.enter_async_context(connect(url))
        return self._connections[url]
