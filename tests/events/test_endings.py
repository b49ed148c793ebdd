"""A worker ends when it is told to, wherever it stands."""

import asyncio

from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.shop import readmodels
from cloudlab.worker import Worker


async def test_a_cancellation_is_not_lost_while_a_connection_is_waited_for(config: Config):
    """All lanes of all projections begin at once and compete for connections: that is where it was lost."""
    async with asyncio.timeout(60):
        for _ in range(40):
            async with Platform.open(config, projections=readmodels.ALL) as platform:
                await Worker(platform).run_until_caught_up()
