"""One tenant of each placement."""

import pytest

from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Tenant
from shop.paying import Shop, open_shop


@pytest.fixture(params=["row", "schema"])
async def tenant(request: pytest.FixtureRequest, platform: Platform) -> Tenant:
    return await platform.create_tenant("acme", placement=request.param)


@pytest.fixture
async def shop(platform: Platform, tenant: Tenant) -> Shop:
    """Goods of three vendors, in each placement."""
    return await open_shop(platform, tenant)


@pytest.fixture
async def row_shop(platform: Platform, acme: Tenant) -> Shop:
    """The same in the shared tables only, for what does not depend on the placement."""
    return await open_shop(platform, acme)
