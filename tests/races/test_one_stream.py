"""Many writers of one stream make one history, without a gap and without a twin.

Standard: §3.2 Event Store Schema
"""

import asyncio
from uuid import UUID, uuid4

import psycopg

from cloudlab.errors import VersionConflict, from_postgres
from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Tenant
from races.following import Connection, append, following, urls, writing

WRITERS, APPENDS = 8, 1000
VERSION = "SELECT event_version FROM cloudlab.event_streams WHERE aggregate_id = %s"


async def append_next(conn: Connection, stream: UUID) -> tuple[int, int]:
    """Append behind the version read just before, until nobody else was faster; return it and the conflicts."""
    conflicts = 0
    while True:
        row = await (await conn.execute(VERSION, [stream])).fetchone()
        try:
            return (await append(conn, stream, expected=row[0] if row else 0))[0], conflicts
        except psycopg.Error as error:
            if not isinstance(from_postgres(error), VersionConflict):
                raise
            conflicts += 1


async def test_eight_writers_of_a_thousand_events_each_make_versions_one_to_eight_thousand(
    platform: Platform, acme: Tenant
):
    shard, stream = urls(platform, acme), uuid4()
    conflicts = 0

    async def writer() -> list[int]:
        nonlocal conflicts
        versions: list[int] = []
        async with writing(shard.app_url, acme) as conn:
            for number in range(APPENDS):
                if number % 10:
                    version, _ = await append(conn, stream)
                else:
                    version, lost = await append_next(conn, stream)
                    conflicts += lost
                versions.append(version)
        assert versions == sorted(versions)
        return versions

    told = await asyncio.gather(*(writer() for _ in range(WRITERS)))
    expected = list(range(1, WRITERS * APPENDS + 1))
    assert sorted(version for versions in told for version in versions) == expected
    assert conflicts > 0
    async with following(shard.worker_url) as page:
        seen = await page(0)
        while found := await page(seen[-1][0]):
            seen += found
    assert [version for _, _, version in seen] == expected
