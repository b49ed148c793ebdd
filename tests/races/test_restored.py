"""A dump that is restored into a new database goes on where it was: positions, cursors and checkpoints.

Standard: §3.2 Event Store Schema
"""

from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg.conninfo import conninfo_to_dict

from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Tenant
from fixtures.postgres import Cluster
from races.following import append, following, urls, writing

CHECKPOINT = "SELECT event_position FROM cloudlab.projection_checkpoints WHERE projection_name = 'audit'"


async def test_a_restored_database_goes_on_with_the_same_checkpoints(
    platform: Platform, acme: Tenant, postgres: Cluster, tmp_path: Path
):
    shard, stream = urls(platform, acme), uuid4()
    async with writing(shard.app_url, acme) as conn, following(shard.worker_url) as page:
        for _ in range(30):
            await append(conn, stream)
        read = (await page(0))[:20]
        unread = (await page(0))[20:]
        with psycopg.connect(shard.worker_url, autocommit=True) as worker:
            worker.execute("INSERT INTO cloudlab.projections (projection_name, lane_count) VALUES ('audit', 1)")
            worker.execute(
                "INSERT INTO cloudlab.projection_checkpoints (projection_name, lane, event_position)"
                " VALUES ('audit', 0, %s)",
                [read[-1][0]],
            )
        # Numbers drawn in vain, so that the last position is not that of the last event.
        async with conn.transaction(force_rollback=True):
            await append(conn, uuid4(), count=5)
    source = str(conninfo_to_dict(shard.worker_url)["dbname"])
    with postgres.database("restored") as name:
        postgres.copy(source, name, tmp_path / "dump")
        restored = postgres.urls(name)
        with psycopg.connect(restored.worker_url) as worker:
            ((cursor,),) = worker.execute(CHECKPOINT).fetchall()
        assert cursor == read[-1][0]
        async with writing(restored.app_url, acme) as conn, following(restored.worker_url) as page:
            assert await page(cursor) == unread
            version, (position,) = await append(conn, stream)
            assert (version, position > unread[-1][0] + 5) == (31, True)
            assert await page(cursor) == [*unread, (position, stream, 31)]
            assert await page(position) == []
