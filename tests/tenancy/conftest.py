"""A person whom a tenant knows."""

from uuid import UUID

import pytest

from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Tenant
from tenancy.sealing import register


@pytest.fixture
async def ada(platform: Platform, acme: Tenant) -> UUID:
    """An account of acme's, with everything in it that is sealed."""
    async with platform.session(acme) as s:
        return await register(s)
