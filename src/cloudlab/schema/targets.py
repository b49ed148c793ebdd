"""Every place of an installation that is migrated, and migrating all of them in the right order.

The control database first, then the shards, then the shop and the tenants' own schemas on them, then ClickHouse.

Standard: §6.1 Versioned Migrations, §4.1 Tenant-Specific Schemas
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from cloudlab.config import Config
from cloudlab.errors import MigrationError, NotFound
from cloudlab.schema import clickhouse, runner
from cloudlab.schema.files import Tree, load_tree
from cloudlab.schema.history import MigrationStatus
from cloudlab.schema.locks import Connection, Waits, one_runner
from cloudlab.schema.postgres import PLATFORM_SCHEMA, PostgresStore, connect
from cloudlab.schema.runner import Applied, Store

SHOP_SCHEMA = "shop"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """One place: its name (`control`, `shard:NAME`, `tenant:NAME/SCHEMA`, `clickhouse`) and the tree it gets."""

    name: str
    tree: Tree
    url: str = field(repr=False)
    schema: str = ""
    lock_url: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class TargetResult:
    """What was done, or in a dry run would be done, in one place."""

    target: Target
    applied: list[Applied]


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """How the migrations of one place stand."""

    target: Target
    migrations: list[MigrationStatus]


Report = Callable[[Target, Applied], None]


async def find_targets(config: Config, only: str | None = None) -> list[Target]:
    """Return every place in the order in which they are migrated up.

    Args:
        config: The installation.
        only: `control`, `shard`, `shard:NAME`, `tenant`, `tenant:NAME`, `tenant:NAME/SCHEMA` or `clickhouse`.

    Raises:
        NotFound: There is no place that `only` names.
        Unavailable: A shard cannot be asked which tenant schemas it holds.

    Cost: one connection per shard, when tenants are wanted.
    """
    targets = [Target("control", Tree.CONTROL, config.control.owner_url, PLATFORM_SCHEMA)]
    for shard in config.shards:
        targets.append(Target(f"shard:{shard.name}", Tree.SHARD, shard.urls.owner_url, PLATFORM_SCHEMA))
    if only is None or only.startswith("tenant"):
        for shard in config.shards:
            for schema in await _tenant_schemas(shard.urls.owner_url):
                name = f"tenant:{shard.name}/{schema}"
                targets.append(Target(name, Tree.TENANT, shard.urls.owner_url, schema))
    targets.append(Target("clickhouse", Tree.CLICKHOUSE, config.analytics_url, lock_url=config.control.owner_url))
    chosen = [target for target in targets if only is None or _matches(target.name, only)]
    if not chosen:
        known = ", ".join(dict.fromkeys(target.name for target in targets))
        raise NotFound(f"there is no target {only!r} to migrate; there are {known}", hint="")
    return chosen


def _matches(name: str, only: str) -> bool:
    return name == only or name.startswith((f"{only}:", f"{only}/"))


async def _tenant_schemas(url: str) -> list[str]:
    """Return the shop and every tenant schema the shard knows of and still holds."""
    async with connect(url) as conn:
        table = await (await conn.execute("SELECT to_regclass('cloudlab.tenant_local')")).fetchone()
        if not table or not table[0]:
            return [SHOP_SCHEMA]
        rows = await conn.execute(
            """
            SELECT DISTINCT t.schema_name
            FROM cloudlab.tenant_local AS t
            JOIN pg_namespace AS n ON n.nspname = t.schema_name
            WHERE t.schema_name <> %s
            ORDER BY t.schema_name
            """,
            [SHOP_SCHEMA],
        )
        return [SHOP_SCHEMA, *(str(row[0]) for row in await rows.fetchall())]


async def migrate_all(
    config: Config,
    *,
    only: str | None = None,
    to: int | None = None,
    dry_run: bool = False,
    progress: Report | None = None,
) -> list[TargetResult]:
    """Bring every place up to date. Running it again continues where a failure stopped it.

    Args:
        config: The installation.
        only: See `find_targets`.
        to: The last version wanted; `only` must then name one tree.
        dry_run: Change nothing, only return what would run.
        progress: Called after each migration.

    Raises:
        MigrationError: See `runner.up`; places before the failing one stay migrated.
        NotFound: There is no place that `only` names.
    """
    targets = await find_targets(config, only)
    _one_tree(targets, to)

    async def up(store: Store, target: Target) -> list[Applied]:
        tell = _told(target, progress)
        return await runner.up(store, load_tree(target.tree), to=to, dry_run=dry_run, progress=tell)

    return [TargetResult(target, applied) for target, applied in await _each(targets, up)]


async def revert(
    config: Config,
    *,
    only: str,
    steps: int = 1,
    to: int | None = None,
    dry_run: bool = False,
    progress: Report | None = None,
) -> list[TargetResult]:
    """Take back the newest `steps` migrations of every place of one tree, or all after version `to` (0: every one).

    The data in them is lost. Arguments and errors are those of `migrate_all`.
    """
    targets = await find_targets(config, only)
    _one_tree(targets, to)

    async def down(store: Store, target: Target) -> list[Applied]:
        tell = _told(target, progress)
        files = load_tree(target.tree)
        return await runner.down(store, files, steps=steps, to=to, dry_run=dry_run, progress=tell)

    return [TargetResult(target, applied) for target, applied in await _each(targets, down)]


async def status_all(config: Config, *, only: str | None = None) -> list[TargetStatus]:
    """Return how every migration of every place stands; raises for no disagreement."""

    async def status(store: Store, target: Target) -> list[MigrationStatus]:
        return await runner.status(store, load_tree(target.tree))

    targets = await find_targets(config, only)
    return [TargetStatus(target, migrations) for target, migrations in await _each(targets, status)]


async def verify_all(config: Config, *, only: str | None = None) -> None:
    """Raise ChecksumChanged or MigrationError for the first place that does not hold exactly our files."""

    async def verify(store: Store, target: Target) -> None:
        await runner.verify(store, load_tree(target.tree))

    await _each(await find_targets(config, only), verify)


def _one_tree(targets: Sequence[Target], to: int | None) -> None:
    if to and len({target.tree for target in targets}) > 1:
        raise MigrationError(
            f"version {to:03} is something else in each tree",
            hint="Name the tree: control, shard, tenant or clickhouse.",
        )


def _told(target: Target, progress: Report | None) -> runner.Progress | None:
    return (lambda applied: progress(target, applied)) if progress else None


async def _each(targets: Iterable[Target], act: Callable[[Store, Target], Awaitable[T]]) -> list[tuple[Target, T]]:
    """Do something in each place in turn, over one connection per database."""
    async with AsyncExitStack() as stack:
        open_stores = _Stores(stack)
        return [(target, await act(await open_stores.of(target), target)) for target in targets]


class _Stores:
    """Stores of the targets, sharing one connection per database; a thousand tenants need no thousand logins."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._connections: dict[str, Connection] = {}

    async def of(self, target: Target) -> Store:
        if target.tree is Tree.CLICKHOUSE:
            lock = one_runner(await self._connection(target.lock_url), Waits().runner_seconds)
            return await self._stack.enter_async_context(clickhouse.connect(target.url, lock))
        return PostgresStore(await self._connection(target.url), target.schema)

    async def _connection(self, url: str) -> Connection:
        if url not in self._connections:
            self._connections[url] = await self._stack.enter_async_context(connect(url))
        return self._connections[url]
