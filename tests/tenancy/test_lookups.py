"""Whose a domain or an order number is can be asked of the control database, which holds neither.

Standard: §4.2 Tenant Configuration, §9.1 Encryption at Rest
"""

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.errors import Duplicate, InvalidInput
from cloudlab.platform import Platform
from cloudlab.shop import readmodels
from cloudlab.shop.lookups import order_lookup
from cloudlab.tenancy.lookups import domain_of
from cloudlab.tenancy.tenants import Tenant
from fixtures.moving import catch_up, fill, move

EAST = "us_east_001"


async def order_numbers(platform: Platform, tenant: Tenant) -> list[str]:
    async with platform.session(tenant, readonly=True) as s:
        return [row[0] for row in await s.fetch_tuples("SELECT order_number FROM orders ORDER BY order_number")]


def control_dump(config: Config) -> str:
    with psycopg.connect(config.control.owner_url) as control:
        return str(control.execute("SELECT l::text FROM cloudlab.tenant_lookups AS l").fetchall())


async def test_a_domain_has_one_owner_until_it_is_released(platform: Platform, config: Config, acme: Tenant):
    rival = await platform.create_tenant("rival", region="eu-west-1")
    assert await platform.find_tenants(domain="acme.example") == []
    for _ in range(2):
        await platform.claim_domain(acme, "Acme.Example")
    assert [tenant.tenant_name for tenant in await platform.find_tenants(domain="ada@ACME.example.")] == ["acme"]
    with pytest.raises(Duplicate, match=r"acme\.example belongs to another tenant"):
        await platform.claim_domain(rival, "acme.example")
    assert "acme" not in control_dump(config)
    assert not await platform.release_domain(rival, "acme.example")
    assert await platform.release_domain(acme, "acme.example")
    await platform.claim_domain(rival, "acme.example")
    assert [tenant.tenant_name for tenant in await platform.find_tenants(domain="acme.example")] == ["rival"]


@pytest.mark.parametrize(
    "text", ["", "localhost", "a b.example", "-x.example", "ada@", "x" * 64 + ".example", "1.2.3.4"]
)
def test_what_is_no_domain_is_refused(text: str):
    with pytest.raises(InvalidInput, match="is not an e-mail domain"):
        domain_of(text)


def test_domains_are_compared_in_lower_case_and_ascii():
    assert domain_of("Ada@BÜCHER.example") == "xn--bcher-kva.example"


async def test_an_order_number_is_found_wherever_the_tenant_lives(platform: Platform, acme: Tenant):
    own = await platform.create_tenant("own", region="us-east-1", placement="schema")
    for tenant in (acme, own):
        await fill(platform, tenant, many=1)
        (number,) = await order_numbers(platform, tenant)
        assert [found.tenant_id for found in await platform.find_tenants(order_number=number)] == [tenant.tenant_id]
    assert await platform.find_tenants(order_number="none'; DROP TABLE orders; --") == []
    with pytest.raises(InvalidInput, match="a domain or for an order number"):
        await platform.find_tenants()


async def test_the_projection_enters_order_numbers_as_digests(config: Config):
    projections = [*readmodels.ALL, order_lookup(config)]
    async with Platform.open(config, projections=projections) as platform:
        tenant = await platform.create_tenant("acme", region="eu-west-1")
        await fill(platform, tenant, many=2)
        await catch_up(platform)
        numbers = await order_numbers(platform, tenant)
        assert len(numbers) == 2
        dump = control_dump(config)
        assert dump.count("order") == 2
        assert not [number for number in numbers if number in dump]
        await move(platform, tenant, EAST)
        (found,) = await platform.find_tenants(order_number=numbers[0])
        assert (found.tenant_id, found.shard) == (tenant.tenant_id, EAST)
