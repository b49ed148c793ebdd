"""One tenant of each placement."""

import pytest

from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Tenant


@pytest.fixture(params=["row", "schema"])
async def tenant(request: pytest.FixtureRequest, platform: Platform) -> Tenant:
    return await platform.create_tenant("acme", placement=request.param)
