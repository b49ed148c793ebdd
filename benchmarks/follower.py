"""A worker process of the benchmark of projections: `python -m benchmarks.follower`."""

import asyncio

from benchmarks.touches import BY_PYTHON
from cloudlab.platform import Platform
from cloudlab.worker import Worker


async def main() -> None:
    """Follow until killed, the installation that CLOUDLAB_STATE_DIR names."""
    async with Platform.open(projections=[BY_PYTHON]) as platform:
        await Worker(platform).run()


if __name__ == "__main__":
    asyncio.run(main())
