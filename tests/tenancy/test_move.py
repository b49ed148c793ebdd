"""A move loses and doubles nothing: every row, every event, whatever the placement, there and back again.

Standard: §7.2 Tenant-Based Sharding
"""

import pytest

from cloudlab.platform import Platform
from cloudlab.tenancy.moves import MoveState
from fixtures.moving import fill, fingerprints


@pytest.mark.parametrize("placement", ["row", "schema"])
async def test_everything_a_tenant_has_arrives_as_it_was(platform: Platform, placement: str):
    tenant = await platform.create_tenant("acme", region="eu-west-1", placement=placement)
    await fill(platform, tenant)
    before = await fingerprints(platform, tenant)
    move = await platform.move_tenant(tenant, to_shard="us_east_001", may_leave_region=True)
    assert (move.state, move.target) == (MoveState.GRACE, "us_east_001")
    moved = await platform.tenant("acme")
    assert (moved.shard, moved.epoch, moved.placement) == ("us_east_001", 2, placement)
    assert await fingerprints(platform, moved) == before
    assert move.checked_rows == sum(count for count, _ in before.values())
