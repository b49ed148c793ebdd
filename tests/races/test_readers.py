"""Whoever follows the feed sees every committed event once and in order; whoever trusts positions alone does not.

Standard: §3.2 Event Store Schema
"""

from contextlib import AsyncExitStack
from uuid import UUID

from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Tenant
from races.following import Seen, following, following_naively, race, urls


def check_streams(seen: list[Seen]) -> None:
    """Each stream comes whole, from version 1 on."""
    versions: dict[UUID, int] = {}
    for _, stream, version in seen:
        assert version == versions.get(stream, 0) + 1
        versions[stream] = version


async def test_every_reader_sees_every_committed_event_once_and_in_order(platform: Platform, acme: Tenant):
    shard = urls(platform, acme)
    async with AsyncExitStack() as stack:
        pages = [await stack.enter_async_context(following(shard.worker_url)) for _ in range(3)]
        committed, readers = await race(shard, acme, pages, seconds=10)
    assert len(committed) > 1000
    for seen in readers:
        assert [position for position, _, _ in seen] == committed
        check_streams(seen)


async def test_a_reader_that_trusts_positions_alone_loses_events(platform: Platform, acme: Tenant):
    """The same load, and beside the right reader a naive one: what the test above would say of it."""
    shard = urls(platform, acme)
    async with following(shard.worker_url) as right, following_naively(shard.worker_url) as naive:
        committed, (seen, seen_naively) = await race(shard, acme, [right, naive], seconds=5)
    assert [position for position, _, _ in seen] == committed
    lost = set(committed) - {position for position, _, _ in seen_naively}
    assert lost, "this load loses nothing even to a naive reader: it proves nothing"
