"""Tenants are created whole or finished later, and live where they were put.

Standard: §4.1 Tenant-Specific Schemas, §4.2 Tenant Configuration
"""

import asyncio
import dataclasses

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.errors import ConfigError, Duplicate, InvalidInput, NotFound, TenantSuspended
from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import shard_config


@pytest.mark.parametrize("placement", ["row", "schema"])
async def test_a_tenant_lives_in_its_region(platform: Platform, placement: str):
    tenant = await platform.create_tenant("acme", region="eu-west-1", placement=placement)
    assert (tenant.region, tenant.shard, tenant.state) == ("eu-west-1", "eu_west_001", "open")
    assert tenant.schema_name == ("shop" if placement == "row" else "tenant_acme")
    assert await platform.tenant("acme") == await platform.tenant(tenant.tenant_id) == tenant
    assert await platform.tenants() == [tenant]


async def test_tenants_without_a_region_are_spread(platform: Platform):
    made = [await platform.create_tenant(name) for name in ("a", "b", "c", "d")]
    assert sorted(tenant.shard for tenant in made) == ["eu_west_001"] * 2 + ["us_east_001"] * 2


@pytest.mark.parametrize("name", ["", "Acme", "1st", "a_b", "a" * 49, "x;drop", "ä", "a b"])
async def test_a_bad_name_is_refused(platform: Platform, name: str):
    with pytest.raises(InvalidInput, match="cannot name a tenant"):
        await platform.create_tenant(name)


async def test_what_does_not_exist_is_said_by_name(platform: Platform):
    with pytest.raises(NotFound, match="no tenant nobody"):
        await platform.tenant("nobody")
    with pytest.raises(NotFound, match="region mars") as refused:
        await platform.create_tenant("acme", region="mars")
    assert "eu-west-1" in refused.value.hint
    with pytest.raises(InvalidInput, match="'cloud' is not a placement"):
        await platform.create_tenant("acme", placement="cloud")


async def test_a_name_is_taken_once_even_in_a_race(platform: Platform):
    found = await asyncio.gather(*(platform.create_tenant("acme") for _ in range(4)), return_exceptions=True)
    assert await platform.tenants() == [await platform.tenant("acme")]
    assert all(isinstance(one, Duplicate) or not isinstance(one, BaseException) for one in found)
    with pytest.raises(Duplicate, match="there is a tenant acme"):
        await platform.create_tenant("acme")


@pytest.mark.parametrize("placement", ["row", "schema"])
async def test_a_creation_that_broke_off_is_finished_by_the_same_call(config: Config, placement: str):
    unreachable = dataclasses.replace(
        config.shards[0].urls, owner_url="postgresql://nobody@127.0.0.1:1/x?connect_timeout=1"
    )
    limits = dataclasses.replace(config.limits, pool_timeout_seconds=1.0)
    async with Platform.open(config) as platform:
        await platform.create_tenant("first", region="us-east-1")
    broken = dataclasses.replace(
        config, limits=limits, shards=(dataclasses.replace(config.shards[0], urls=unreachable), *config.shards[1:])
    )
    async with await psycopg.AsyncConnection.connect(config.control.owner_url, autocommit=True) as control:
        async with Platform.open(broken) as platform:
            with pytest.raises(Exception, match=r"did not accept a connection"):
                await platform.create_tenant("acme", region="us-east-1", placement=placement)
        await control.execute(
            """
            WITH made AS (INSERT INTO cloudlab.tenants (tenant_name, schema_name)
                          VALUES ('half', %s) RETURNING tenant_id)
            INSERT INTO cloudlab.placements (tenant_id, shard_id, placement)
            SELECT made.tenant_id, s.shard_id, %s FROM made, cloudlab.shards AS s WHERE s.region = 'us-east-1'
            """,
            ["shop" if placement == "row" else "tenant_half", placement],
        )
    async with Platform.open(config) as platform:
        tenant = await platform.create_tenant("half", region="us-east-1", placement=placement)
        assert tenant.state == "open"
        async with platform.session(tenant) as s:
            assert await s.execute("SELECT FROM orders") == 0


async def test_a_suspended_tenant_is_refused_by_the_shard_itself(platform: Platform):
    tenant = await platform.create_tenant("acme")
    url = shard_config(platform.config, tenant.shard).urls.owner_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        await conn.execute("UPDATE cloudlab.tenant_local SET state = 'suspended'")
    with pytest.raises(TenantSuspended):
        async with platform.session(tenant) as s:
            await s.execute("SELECT")


async def test_a_shard_cannot_change_its_name_or_region(config: Config):
    async with Platform.open(config) as platform:
        await platform.create_tenant("acme")
    swapped = dataclasses.replace(
        config,
        shards=tuple(
            dataclasses.replace(shard, urls=other.urls)
            for shard, other in zip(config.shards, reversed(config.shards), strict=True)
        ),
    )
    async with Platform.open(swapped) as platform:
        with pytest.raises(ConfigError, match="was set up as shard"):
            await platform.create_tenant("other")
    moved = dataclasses.replace(config, shards=tuple(dataclasses.replace(one, region="x") for one in config.shards))
    async with Platform.open(moved) as platform:
        with pytest.raises(ConfigError, match="was set up in region"):
            await platform.create_tenant("other")
