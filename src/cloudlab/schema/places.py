"""The places that are migrated: those of an installation, or any folder of files on any PostgreSQL database.

Of an installation: the control database first, then the shards, then the shop and the tenants' own schemas on them,
then ClickHouse.

Standard: §6.1 Versioned Migrations, §4.1 Tenant-Specific Schemas
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloudlab.config import Config
from cloudlab.errors import NotFound
from cloudlab.schema.files import Migration, Tree, load, load_tree
from cloudlab.schema.postgres import PLATFORM_SCHEMA, connect

SHOP_SCHEMA = "shop"


@dataclass(frozen=True, slots=True)
class Target:
    """One place and what it gets: one of CloudLab's trees, or the files of a folder.

    Its name is `control`, `shard:NAME`, `tenant:NAME/SCHEMA`, `clickhouse`, or that of a schema in somebody's database.
    """

    name: str
    source: Tree | Path
    url: str = field(repr=False)
    schema: str = ""
    lock_url: str = field(repr=False, default="")

    @property
    def files(self) -> tuple[Migration, ...]:
        """The migrations of this place, oldest first. MigrationError when one is malformed."""
        return load_tree(self.source) if isinstance(self.source, Tree) else load(self.source, gapless=False)


async def find_targets(config: Config, only: str | None = None) -> list[Target]:
    """Return every place of an installation in the order in which they are migrated up.

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


async def folder_targets(folder: Path, url: str, schemas: Sequence[str] = ()) -> list[Target]:
    """Return the schemas of any PostgreSQL database that get the files of a folder, `public` if none is named.

    Args:
        folder: Files as `files.parse` reads them; their versions may have gaps.
        url: A login that owns what is changed, straight to the server.
        schemas: Names; with a `*` in one, every schema there is whose name fits, by name.

    Raises:
        NotFound: There is no such folder, or a name with a `*` fits no schema.
        Unavailable: The database cannot be reached.
    """
    if not folder.is_dir():  # noqa: ASYNC240  once, at the beginning of a command
        raise NotFound(f"there is no folder {folder}", hint="Make it, then begin with `cloudlab migrate new`.")
    names: list[str] = []
    for wanted in schemas or ("public",):
        names += await _fitting(url, wanted) if "*" in wanted else [wanted]
    return [Target(name, folder, url, name) for name in dict.fromkeys(names)]


async def _fitting(url: str, pattern: str) -> list[str]:
    like = pattern.replace("\\", r"\\").replace("_", r"\_").replace("%", r"\%").replace("*", "%")
    async with connect(url) as conn:
        rows = await conn.execute(
            """
            SELECT n.nspname FROM pg_namespace AS n
            WHERE n.nspname LIKE %s AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
            ORDER BY n.nspname
            """,
            [like],
        )
        names = [str(row[0]) for row in await rows.fetchall()]
    if not names:
        raise NotFound(f"no schema fits {pattern!r}", hint="Name schemas that are to be created in full.")
    return names
