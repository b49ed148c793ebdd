"""The servers that are measured: an embedded stack of its own, durable, on a real disk, deleted at the end.

It is what `cloudlab up` gives anybody, with one tenant in the shared tables, 1,000 customers and 20,000 products of
which there is always enough.
"""

import json
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cloudlab.config import Config, DatabaseUrls, Limits
from cloudlab.embedded import stack
from cloudlab.embedded.accounts import can_reach, unprivileged
from cloudlab.platform import Platform
from cloudlab.schema.places import find_targets
from cloudlab.schema.targets import migrate_all
from cloudlab.session import Session
from cloudlab.shop.user_fields import Person, seal_person
from cloudlab.tenancy import fields
from cloudlab.tenancy.tenants import Tenant, shard_config

PRODUCTS = 20_000
CUSTOMERS = 1_000
IN_MEMORY = ("tmpfs", "ramfs")
# Identifiers that a number gives at once, here and in pgbench, which can draw numbers only.
PREFIX = "01900000-0000-7000-8000-"
FIRST = 100_000_000_001

_SHOP: LiteralString = """
    SET LOCAL search_path = shop, cloudlab;
    INSERT INTO vendors (tenant_id, vendor_name)
        SELECT %(tenant)s::uuid, 'vendor ' || n FROM generate_series(0, 11) AS n;
    INSERT INTO products (tenant_id, product_id, vendor_id, sku, name, price, currency)
        SELECT v.tenant_id, (%(prefix)s || n)::uuid, v.vendor_id, 'SKU-' || n, 'Reading Lamp, Teal, No. ' || n,
               4.95 + n %% 90, 'EUR'
        FROM generate_series(%(first)s, %(first)s + %(products)s - 1) AS n
        JOIN vendors AS v ON v.vendor_name = 'vendor ' || n %% 12;
    INSERT INTO inventory (tenant_id, product_id, available_quantity)
        SELECT tenant_id, product_id, 2000000000 FROM products;
"""


def numbered(number: int) -> UUID:
    """Return the identifier of the product, customer or stream of this number, counted from 0."""
    return UUID(f"{PREFIX}{FIRST + number}")


@dataclass(frozen=True, slots=True)
class Lab:
    """A running installation with a shop in it."""

    config: Config
    tenant: Tenant
    superuser_url: str
    folder: Path
    server_pid: int

    @property
    def urls(self) -> DatabaseUrls:
        """The logins of the tenant's shard."""
        return shard_config(self.config, self.tenant.shard).urls

    @asynccontextmanager
    async def platform(self, callers: int = 1, *, host: Path | None = None) -> AsyncGenerator[Platform]:
        """Open a platform with a connection for every caller; `host` is a folder with another socket to connect to."""
        shards = tuple(replace(shard, urls=_through(shard.urls, host)) for shard in self.config.shards)
        config = replace(self.config, shards=shards, limits=Limits(pool_max_size=callers))
        async with Platform.open(config) as opened:
            yield opened

    def ask(self, query: LiteralString, **params: object) -> list[tuple[Any, ...]]:
        """Ask the shard as superuser, whom no policy binds."""
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            return connection.execute(query, params).fetchall()

    def run(self, *statements: LiteralString | sql.Composed, **params: object) -> None:
        """Run statements on the shard as superuser, each on its own."""
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement, params or None)

    def run_everywhere(self, *statements: LiteralString) -> None:
        """Run statements on every shard as superuser, each on its own."""
        for shard in self.config.shards:
            database = conninfo_to_dict(shard.urls.app_url)["dbname"]
            with psycopg.connect(make_conninfo(self.superuser_url, dbname=database), autocommit=True) as connection:
                for statement in statements:
                    connection.execute(statement)


def _through(urls: DatabaseUrls, host: Path | None) -> DatabaseUrls:
    if host is None:
        return urls
    return DatabaseUrls(
        app_url=make_conninfo(urls.app_url, host=str(host)),
        owner_url=make_conninfo(urls.owner_url, host=str(host)),
        worker_url=make_conninfo(urls.worker_url, host=str(host)),
        readonly_url=make_conninfo(urls.readonly_url, host=str(host)),
    )


@asynccontextmanager
async def running() -> AsyncGenerator[Lab]:
    """Start the servers and open the shop; whatever happens, nothing of it is left."""
    with temporary_folder() as folder:
        state_dir = folder / "stack"
        try:
            runtime = await stack.up(state_dir)
            await migrate_all(await find_targets(runtime.config))
            async with Platform.open(runtime.config) as platform:
                tenant = await platform.create_tenant("bench")
                async with platform.session(tenant) as s:
                    await _register_customers(s)
            written = json.loads((state_dir / "runtime.json").read_text())
            (server,) = (server for server in runtime.servers if server.name == "postgres")
            database = conninfo_to_dict(shard_config(runtime.config, tenant.shard).urls.app_url)["dbname"]
            url = make_conninfo(written["superuser_url"], dbname=database)
            _open_shop(url, tenant)
            yield Lab(runtime.config, tenant, url, folder, server.mark.pid)
        finally:
            await stack.down(state_dir, purge=True)


async def _register_customers(s: Session) -> None:
    """Open the accounts as `users.register` does, but with identifiers that a number gives."""
    keys = await fields.keys(s)
    ids = [numbered(number) for number in range(CUSTOMERS)]
    people = [seal_person(keys, each, Person(f"{each.int}@bench.test", "Ada", "L")) for each in ids]
    await s.execute(
        """
        INSERT /* lab.register_customers */ INTO users (tenant_id, user_id, email, email_index, first_name, last_name)
        SELECT %(tenant_id)s::uuid, n.user_id, n.email, n.email_index, n.first_name, n.last_name
        FROM unnest(%(ids)s::uuid[], %(emails)s::bytea[], %(indexes)s::bytea[], %(first_names)s::bytea[],
                    %(last_names)s::bytea[]) AS n (user_id, email, email_index, first_name, last_name)
        """,
        tenant_id=s.tenant_id,
        ids=ids,
        emails=[person.email for person, _ in people],
        indexes=[index for _, index in people],
        first_names=[person.first_name for person, _ in people],
        last_names=[person.last_name for person, _ in people],
    )


def _open_shop(url: str, tenant: Tenant) -> None:
    tenant_id = str(tenant.tenant_id)
    params = {"tenant": tenant_id, "prefix": PREFIX, "first": FIRST, "products": PRODUCTS}
    with psycopg.connect(url, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(_SHOP, params)
    with psycopg.connect(url, autocommit=True) as connection:
        # Only what was filled: a table vacuumed while it is empty is planned as one, and a plan is kept for long.
        connection.execute("VACUUM ANALYZE shop.vendors, shop.users, shop.products, shop.inventory")


@contextmanager
def temporary_folder() -> Generator[Path]:
    """Make a folder that the servers' account can reach, on a disk: in memory, a commit would cost nothing."""
    account = unprivileged()
    for parent in (Path(tempfile.gettempdir()), Path("/var/tmp"), Path.cwd()):  # noqa: S108
        if file_system(parent) not in IN_MEMORY and can_reach(account, parent):
            break
    else:
        raise SystemExit("no temporary folder on a disk: set TMPDIR to one")
    with tempfile.TemporaryDirectory(prefix="cloudlab-bench-", dir=parent) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def file_system(path: Path) -> str:
    """Return the type of the file system that a folder stands on."""
    mounted = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}
    return next(
        (mounted[str(folder)] for folder in (path.resolve(), *path.resolve().parents) if str(folder) in mounted), ""
    )
