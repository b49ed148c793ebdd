"""Archived months move too, and what leaves an archive is taken from its fingerprint.

Standard: §7.1 Time-Based Partitioning, §7.2 Tenant-Based Sharding
"""

from uuid import uuid4

import psycopg
import pytest

from cloudlab.errors import Conflict
from cloudlab.events import archive, history, store
from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import Stream
from events.test_archive import HAPPENED, OLD, write_past
from fixtures.moving import catch_up, fingerprints, leftovers, move

EAST, WEST = "us_east_001", "eu_west_001"


async def with_a_past(platform: Platform, name: str) -> tuple[Tenant, Stream]:
    tenant, stream = await platform.create_tenant(name, region="eu-west-1"), Stream("Thing", uuid4())
    urls = shard_config(platform.config, WEST).urls
    with psycopg.connect(urls.owner_url, autocommit=True) as owner:
        owner.execute("SELECT cloudlab.ensure_event_partitions(0, '2024-02-10Z')")
    with psycopg.connect(urls.app_url) as app:
        app.execute("SELECT set_config('app.current_tenant_id', %s, true)", [str(tenant.tenant_id)])
        write_past(app, tenant, stream, 5)
    async with platform.session(tenant) as s:
        await store.append(s, stream, [HAPPENED], expected_version=5)
    await catch_up(platform)
    return tenant, stream


async def test_archived_months_move_and_what_others_have_there_is_still_whole(platform: Platform):
    tenant, stream = await with_a_past(platform, "acme")
    rival, _ = await with_a_past(platform, "rival")
    west = shard_config(platform.config, WEST).urls
    await archive.archive_month(west, OLD)
    before = await fingerprints(platform, tenant)
    await move(platform, tenant, EAST)
    moved = await platform.tenant("acme")
    assert await fingerprints(platform, moved) == before
    async with platform.session(moved) as s:
        assert [event.event_version for event in await history.read_stream_history(s, stream)] == [1, 2, 3, 4, 5, 6]
    await platform.moves.finish(moved)
    assert await leftovers(platform, tenant, WEST) == 0
    await archive.restore_month(west, OLD)
    assert sum(count for count, _ in (await fingerprints(platform, rival)).values()) > 0


async def test_a_month_that_is_archived_at_the_target_is_named(platform: Platform):
    tenant, _ = await with_a_past(platform, "acme")
    east = shard_config(platform.config, EAST).urls
    with psycopg.connect(east.owner_url, autocommit=True) as owner:
        owner.execute("SELECT cloudlab.ensure_event_partitions(0, '2024-02-10Z')")
    await archive.archive_month(east, OLD)
    with pytest.raises(Conflict, match="2024-02, and that month is archived at the target"):
        await move(platform, tenant, EAST)
    await platform.moves.abort(tenant)
    await archive.restore_month(east, OLD)
    await move(platform, tenant, EAST)
