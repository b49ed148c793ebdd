"""Migrate one schema of one PostgreSQL database.

The files of a tree are loaded once (`files.load_tree`) and applied to any number of schemas:

    applied = await migrate.up(shard.urls.owner_url, load_tree(Tree.TENANT), "tenant_acme")

Standard: §6.1 Versioned Migrations
"""

from collections.abc import Sequence

from cloudlab.schema import runner
from cloudlab.schema.files import Migration
from cloudlab.schema.history import MigrationStatus
from cloudlab.schema.locks import Connection, Waits
from cloudlab.schema.postgres import PostgresStore, connect
from cloudlab.schema.runner import Applied, Progress


async def up(
    database: str | Connection,
    files: Sequence[Migration],
    schema: str,
    *,
    to: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    waits: Waits | None = None,
) -> list[Applied]:
    """Apply what is pending, oldest first; see `runner.up` for what it refuses.

    Args:
        database: A URL of the owner login, or an open autocommit connection of it.
        files: The tree.
        schema: Where; created when it is missing.
        to: The last version wanted; by default all.
        dry_run: Change nothing, only return what would run.
        progress: Called after each migration.
        waits: How long to wait for other runners and for locks.

    Standard: §6.1 Versioned Migrations
    """
    async with connect(database) as conn:
        return await runner.up(PostgresStore(conn, schema, waits), files, to=to, dry_run=dry_run, progress=progress)


async def down(
    database: str | Connection,
    files: Sequence[Migration],
    schema: str,
    *,
    steps: int = 1,
    to: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    waits: Waits | None = None,
) -> list[Applied]:
    """Take back the newest `steps` migrations, or all after version `to` (0: every one); their data is lost."""
    async with connect(database) as conn:
        store = PostgresStore(conn, schema, waits)
        return await runner.down(store, files, steps=steps, to=to, dry_run=dry_run, progress=progress)


async def status(database: str | Connection, files: Sequence[Migration], schema: str) -> list[MigrationStatus]:
    """Return how every migration stands, by version. Locks nothing, raises for no disagreement."""
    async with connect(database) as conn:
        return await runner.status(PostgresStore(conn, schema), files)


async def verify(database: str | Connection, files: Sequence[Migration], schema: str) -> None:
    """Raise unless the schema holds exactly these files, all applied in full and unchanged.

    Raises:
        ChecksumChanged: An applied file was changed or removed.
        MigrationError: One is pending, half-applied or out of order.
    """
    async with connect(database) as conn:
        await runner.verify(PostgresStore(conn, schema), files)
