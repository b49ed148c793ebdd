"""No session sees or changes another tenant's row: every table of the catalog, both placements, every kind of write.

The tables are read from the catalog, so a new one is covered unasked; one without a policy, or readable without a
tenant, fails here.

Standard: §4.1 Row-Level Security (RLS), §9.2 Row-Level Security
"""

import asyncio
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from cloudlab.platform import Platform
from cloudlab.shop import catalog, orders, users
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import Money
from fixtures.pgbouncer import THROUGH_PGBOUNCER
from isolation.filling import fill

ROUTES = THROUGH_PGBOUNCER

PLACEMENTS = ("row", "schema")
ATTACKS = ("SELECT", "UPDATE", "DELETE")
REFUSED = (psycopg.errors.InsufficientPrivilege,)


@pytest.fixture(params=PLACEMENTS)
async def tenants(request: pytest.FixtureRequest, platform: Platform) -> tuple[Tenant, Tenant]:
    """Two tenants of one shard, each with a row in every table that the shop can fill."""
    placement, region = request.param, "eu-west-1"
    pair = [await platform.create_tenant(name, region=region, placement=placement) for name in ("acme", "rival")]
    for tenant in pair:
        await fill(platform, tenant)
    return pair[0], pair[1]


async def tenant_tables(url: str, schema: str) -> list[tuple[str, str]]:
    """Every table of a tenant's schema and of the platform's, partitions too, as the catalog has them."""
    async with await psycopg.AsyncConnection.connect(url) as conn:
        found = await conn.execute(
            """
            SELECT n.nspname, c.relname
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE n.nspname IN (%s, 'cloudlab') AND c.relkind IN ('r', 'p')
              AND EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')
            ORDER BY n.nspname, c.relname
            """,
            [schema],
        )
        return [(str(row[0]), str(row[1])) for row in await found.fetchall()]


async def attack(conn: psycopg.AsyncConnection, tenant: Tenant, attack_sql: sql.Composed) -> int | None:
    """Run a statement as a session of this tenant; return its rows, None when it was refused."""
    try:
        async with conn.transaction(force_rollback=True):
            await conn.execute(
                "SELECT set_config('search_path', cloudlab.enter_tenant(%s, NULL, %s), true)",
                [tenant.tenant_id, tenant.epoch],
            )
            return (await conn.execute(attack_sql)).rowcount
    except REFUSED:
        return None


async def test_no_table_shows_or_gives_up_a_row_of_another_tenant(platform: Platform, tenants: tuple[Tenant, Tenant]):
    acme, rival = tenants
    urls = shard_config(platform.config, acme.shard).urls
    other = sql.SQL("tenant_id = {}").format(str(rival.tenant_id))
    filled = 0
    async with await psycopg.AsyncConnection.connect(urls.app_url, autocommit=True) as conn:
        for schema in dict.fromkeys((acme.schema_name, rival.schema_name)):
            for table in await tenant_tables(urls.owner_url, schema):
                name = sql.Identifier(*table)
                look = sql.SQL("SELECT FROM {}").format(name)
                filled += bool(await attack(conn, acme, look))
                assert not await attack(conn, acme, sql.SQL("SELECT FROM {} WHERE {}").format(name, other)), table
                change = sql.SQL("UPDATE {} SET tenant_id = tenant_id WHERE {}").format(name, other)
                assert not await attack(conn, acme, change), table
                assert not await attack(conn, acme, sql.SQL("DELETE FROM {} WHERE {}").format(name, other)), table
                assert await attack(conn, acme, sql.SQL("TRUNCATE {}").format(name)) is None, table
                steal = sql.SQL("COPY {} TO STDOUT").format(name)
                assert await copied(conn, acme, steal, rival) == 0, table
    # The attacks above prove nothing on empty tables.
    assert filled >= 27


async def copied(conn: psycopg.AsyncConnection, tenant: Tenant, statement: sql.Composed, victim: Tenant) -> int:
    """Count the victim's rows in what COPY hands out."""
    try:
        async with conn.transaction(force_rollback=True):
            await conn.execute(
                "SELECT set_config('search_path', cloudlab.enter_tenant(%s, NULL, %s), true)",
                [tenant.tenant_id, tenant.epoch],
            )
            async with conn.cursor().copy(statement) as copy:
                return sum([str(victim.tenant_id).encode() in bytes(part) async for part in copy])
    except REFUSED:
        return 0


async def test_no_row_can_be_given_to_another_tenant(platform: Platform, tenants: tuple[Tenant, Tenant]):
    acme, rival = tenants
    urls = shard_config(platform.config, acme.shard).urls
    async with await psycopg.AsyncConnection.connect(urls.app_url, autocommit=True) as conn:
        for table in await tenant_tables(urls.owner_url, acme.schema_name):
            give = sql.SQL("UPDATE {} SET tenant_id = {}").format(sql.Identifier(*table), str(rival.tenant_id))
            assert not await attack(conn, acme, give), table


@pytest.mark.parametrize("login", ["app_url", "readonly_url"])
async def test_without_a_tenant_there_are_no_rows(platform: Platform, tenants: tuple[Tenant, Tenant], login: str):
    acme, rival = tenants
    urls = shard_config(platform.config, acme.shard).urls
    async with await psycopg.AsyncConnection.connect(getattr(urls, login), autocommit=True) as conn:
        for schema in dict.fromkeys((acme.schema_name, rival.schema_name)):
            for table in await tenant_tables(urls.owner_url, schema):
                try:
                    found = await conn.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier(*table)))
                    assert found.rowcount == 0, table
                except REFUSED:
                    continue


async def test_every_tenant_table_forces_rls_and_has_one_restrictive_policy(
    platform: Platform, tenants: tuple[Tenant, Tenant]
):
    acme, _ = tenants
    url = shard_config(platform.config, acme.shard).urls.owner_url
    async with await psycopg.AsyncConnection.connect(url) as conn:
        for schema, table in await tenant_tables(url, acme.schema_name):
            row = await (
                await conn.execute(
                    """
                    SELECT c.relrowsecurity AND c.relforcerowsecurity, c.relispartition,
                           count(p.oid) FILTER (WHERE NOT p.polpermissive)
                    FROM pg_class AS c LEFT JOIN pg_policy AS p ON p.polrelid = c.oid
                    WHERE c.oid = %s::regclass GROUP BY c.oid
                    """,
                    [f'"{schema}"."{table}"'],
                )
            ).fetchone()
            assert row is not None
            forced, is_partition, restrictive = row
            assert forced, table
            # A partition has no policy at all: addressed directly it shows nothing. tenant_local is read by its owner.
            assert restrictive == 1 or is_partition or table == "tenant_local", table


async def test_a_user_sees_only_what_is_theirs(platform: Platform, tenants: tuple[Tenant, Tenant]):
    acme, _ = tenants
    async with platform.session(acme) as s:
        bob = await users.register(s, email="bob@shop.test", first_name="Bob", last_name="B")
        ada = await users.find_by_email(s, "ada@shop.test")
        product = await catalog.find_by_sku(s, "LAMP")
    async with platform.session(acme, user_id=bob.user_id) as s:
        own = await orders.place(s, user_id=bob.user_id, lines=[(product.product_id, 1)], idempotency_key="b")
    for table in ("orders", "order_items", "payments", "refunds", "shipments", "user_payment_methods", "credit_notes"):
        counted = sql.SQL("SELECT FROM {}").format(sql.Identifier(table))
        assert await seen_by(platform, acme, bob.user_id, counted) == (1 if table in ("orders", "order_items") else 0)
        assert await seen_by(platform, acme, ada.user_id, counted) == 1
    async with platform.session(acme, user_id=ada.user_id) as s:
        assert (await orders.list_for_user(s, bob.user_id)).items == []
        assert own.order_id not in {order.order_id for order in (await orders.list_for_user(s, ada.user_id)).items}


async def seen_by(platform: Platform, tenant: Tenant, user_id: UUID, counted: sql.Composed) -> int:
    url = shard_config(platform.config, tenant.shard).urls.app_url
    async with await psycopg.AsyncConnection.connect(url) as conn:
        await conn.execute(
            "SELECT set_config('search_path', cloudlab.enter_tenant(%s, %s, %s), true)",
            [tenant.tenant_id, user_id, tenant.epoch],
        )
        return (await conn.execute(counted)).rowcount


async def test_a_readonly_session_cannot_write(platform: Platform, tenants: tuple[Tenant, Tenant]):
    acme, _ = tenants
    with pytest.raises(Exception, match=r"read-only|permission denied"):
        async with platform.session(acme, readonly=True) as s:
            await catalog.add(s, sku="X", name="X", price=Money("1", "EUR"))
    urls = shard_config(platform.config, acme.shard).urls
    async with await psycopg.AsyncConnection.connect(urls.readonly_url, autocommit=True) as conn:
        for table in await tenant_tables(urls.owner_url, acme.schema_name):
            change = sql.SQL("UPDATE {} SET tenant_id = tenant_id").format(sql.Identifier(*table))
            assert await attack(conn, acme, change) is None, table


async def test_a_tenant_of_another_epoch_or_shard_is_refused(platform: Platform, tenants: tuple[Tenant, Tenant]):
    acme, _ = tenants
    url = shard_config(platform.config, acme.shard).urls.app_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        for tenant_id, epoch in ((acme.tenant_id, acme.epoch + 1), (uuid4(), 1)):
            with pytest.raises(psycopg.errors.Error) as refused:
                await conn.execute("SELECT cloudlab.enter_tenant(%s, NULL, %s)", [tenant_id, epoch])
            assert refused.value.sqlstate == "CL001"


async def test_interleaved_sessions_of_both_tenants_never_mix(platform: Platform, tenants: tuple[Tenant, Tenant]):
    async def look(tenant: Tenant) -> None:
        for _ in range(25):
            async with platform.session(tenant) as s:
                rows = await s.fetch(dict, "SELECT DISTINCT tenant_id FROM events")
                assert rows == [{"tenant_id": tenant.tenant_id}]

    await asyncio.gather(*(look(tenant) for tenant in tenants * 8))


async def test_history_cannot_be_rewritten(platform: Platform, tenants: tuple[Tenant, Tenant]):
    acme, _ = tenants
    owner = shard_config(platform.config, acme.shard).urls.owner_url
    async with await psycopg.AsyncConnection.connect(owner, autocommit=True) as conn:
        await conn.execute("ALTER TABLE cloudlab.events NO FORCE ROW LEVEL SECURITY")
        for statement in ("UPDATE cloudlab.events SET event_type = 'x'", "DELETE FROM cloudlab.events"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
                await conn.execute(statement.encode())
