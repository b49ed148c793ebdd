"""A dropped tenant is deleted after its grace, all of it, wherever the deletion is cut off; nobody else loses a row.

Standard: §4.2 Tenant Configuration, §8.2 Soft Deletion
"""

from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from cloudlab.config import Config
from cloudlab.errors import Conflict, NotFound
from cloudlab.platform import Platform
from cloudlab.shop import users
from cloudlab.tenancy.tenants import Tenant, shard_config
from fixtures.moving import fill, fingerprints, move

EAST = "us_east_001"


NOW = timedelta(0)
# The block of positions that a move has given to old events stays taken.
RECORD = "tenant_transfers"


def rows_left(config: Config, tenant: Tenant) -> dict[str, int]:
    """Count what any table of any shard has of a tenant, past every policy."""
    found: dict[str, int] = {}
    for shard in config.shards:
        with psycopg.connect(shard.urls.owner_url, autocommit=True) as conn:
            conn.execute(sql.SQL("SET app.moving_tenant_id = {}").format(sql.Literal(str(tenant.tenant_id))))
            tables = conn.execute(
                """
                SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> %s
                  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')
                """,
                [RECORD],
            ).fetchall()
            for table in tables:
                count = sql.SQL("SELECT count(*) FROM {} WHERE tenant_id = {}").format(
                    sql.Identifier(*table), sql.Literal(str(tenant.tenant_id))
                )
                ((rows,),) = conn.execute(count).fetchall()
                if rows:
                    found[f"{shard.name}.{table[0]}.{table[1]}"] = rows
    return found


class Killed(BaseException):
    """The process dies here."""


def dying_at(points: list[str]):
    """Die at the first point that was not died at before."""

    def at(point: str) -> None:
        if point not in points:
            points.append(point)
            raise Killed

    return at


@pytest.mark.parametrize("placement", ["row", "schema"])
async def test_all_of_a_dropped_tenant_goes_and_nothing_of_another(platform: Platform, config: Config, placement: str):
    tenant = await platform.create_tenant("acme", region="eu-west-1", placement=placement)
    rival = await platform.create_tenant("rival", region="eu-west-1")
    for each in (tenant, rival):
        await fill(platform, each)
    await move(platform, tenant, EAST)  # its source still has everything, for the grace of the move
    tenant = await platform.tenant("acme")
    before = await fingerprints(platform, rival)
    await platform.drop_tenant(tenant, grace=NOW)
    assert rows_left(config, tenant)
    died: list[str] = []
    for _ in range(20):
        try:
            assert await platform.purges.carry_on(dying_at(died)) == 1
            break
        except Killed:
            continue
    assert died == ["sources cleared", "table cleared", "shard cleared", "copies gone"]
    assert rows_left(config, tenant) == {}
    assert await platform.analytics.query(
        "SELECT count() AS n FROM orders WHERE tenant_id = {t:UUID}", {"t": str(tenant.tenant_id)}
    ) == [{"n": 0}]
    with psycopg.connect(shard_config(config, EAST).urls.owner_url) as conn:
        schemas = conn.execute("SELECT FROM pg_namespace WHERE nspname = %s", [tenant.schema_name]).fetchall()
    assert len(schemas) == (placement == "row")
    platform.forget(tenant)
    with pytest.raises(NotFound):
        await platform.tenant("acme")
    (record,) = await platform.purges.list()
    assert (record.tenant_name, record.shard) == ("acme", EAST)
    assert record.finished_at
    assert record.deleted_count > 0
    assert await platform.purges.carry_on() == 0
    assert await fingerprints(platform, rival) == before
    assert (await platform.create_tenant("acme", region="eu-west-1")).tenant_id != tenant.tenant_id


async def test_a_tenant_is_kept_for_its_grace_and_cannot_come_back_after(platform: Platform, acme: Tenant):
    await platform.drop_tenant(acme, grace=timedelta(days=1))
    assert await platform.purges.carry_on() == 0
    await platform.resume_tenant(acme)
    assert await platform.purges.carry_on() == 0
    await platform.drop_tenant(acme, grace=NOW)
    with pytest.raises(Killed):
        await platform.purges.carry_on(dying_at([]))
    with pytest.raises(Conflict, match="is being deleted"):
        await platform.resume_tenant(acme)
    assert await platform.purges.carry_on() == 1


async def test_its_keys_go_first(platform: Platform, config: Config, acme: Tenant):
    await fill(platform, acme, many=1)
    async with platform.session(acme) as s:
        user = await users.register(s, email="ada@shop.test", first_name="Ada", last_name="L")
        await users.change_contact(s, user.user_id, phone_number="+49301234567")

    def key_tables() -> list[str]:
        return [name for name in rows_left(config, acme) if name.endswith(("tenant_keys", "subject_keys"))]

    assert key_tables()
    await platform.drop_tenant(acme, grace=NOW)
    cleared: list[str] = []

    def at(point: str) -> None:
        if point == "table cleared":
            cleared.append(point)
            if len(cleared) == 2:
                raise Killed

    with pytest.raises(Killed):
        await platform.purges.carry_on(at)
    assert key_tables() == []
    assert any(name.endswith(".orders") for name in rows_left(config, acme))
