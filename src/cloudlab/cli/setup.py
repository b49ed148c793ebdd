"""Bringing an installation into being: servers, migrations, shards in the directory.

Standard: §6.1 Versioned Migrations
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from cloudlab.config import Config
from cloudlab.embedded import stack
from cloudlab.postgres.pool import Pools
from cloudlab.schema.places import find_targets
from cloudlab.schema.targets import migrate_all
from cloudlab.tenancy import shards as directory


async def bring_up(
    state_dir: Path,
    *,
    shards: Sequence[tuple[str, str]] | None = None,
    tls: bool | None = None,
    progress: Callable[[str], None] | None = None,
) -> Config:
    """Start the embedded stack and make it ready for tenants; nothing is changed when it is ready.

    Raises:
        EmbeddedError: A server could not be started.
        MigrationError: A migration was refused; the servers stay up.
    """
    runtime = await stack.up(state_dir, shards=shards, tls=tls, progress=progress)
    await make_ready(runtime.config, progress=progress)
    return runtime.config


async def make_ready(config: Config, *, progress: Callable[[str], None] | None = None) -> None:
    """Migrate every database of a configuration and enter its shards in the directory; it may be repeated."""
    if progress:
        progress("migrating")
    await migrate_all(await find_targets(config))
    async with Pools(config.limits) as pools:
        await directory.register(pools, config)
