"""A worker process of the benchmark of projections: `python -m benchmarks.follower cloudlab.toml`."""

import asyncio
import sys

from benchmarks.touches import BY_PYTHON
from cloudlab.platform import Platform
from cloudlab.worker import Worker


async def main(config: str) -> None:
    """Follow until killed."""
    async with Platform.open(config, projections=[BY_PYTHON]) as platform:
        await Worker(platform).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
