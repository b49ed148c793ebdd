"""A restart of PostgreSQL breaks the idle connections of every process; nobody is handed a broken one afterwards."""

import asyncio
import json
import os
import signal

from cloudlab.embedded import stack
from cloudlab.platform import Platform
from recovery.conftest import Installation


async def test_after_a_restart_no_caller_meets_a_broken_connection(installation: Installation):
    async with Platform.open(installation.config) as platform:
        tenant = await platform.create_tenant("restarted", region="eu-west-1")

        async def ask() -> int:
            async with platform.session(tenant, readonly=True) as s:
                return await s.execute("SELECT /* test */ pg_sleep(0.05)")

        await asyncio.gather(*(ask() for _ in range(6)))
        runtime = json.loads((installation.state_dir / "runtime.json").read_text())
        os.kill(runtime["servers"]["postgres"]["pid"], signal.SIGKILL)
        await stack.up(installation.state_dir)
        assert await asyncio.gather(*(ask() for _ in range(6))) == [1] * 6
