"""A mover as a process of its own, which dies by kill -9 at a point: `python mover.py TENANT SHARD POINT [abort]`."""

import asyncio
import os
import signal
import sys

from cloudlab.platform import Platform


async def main(tenant: str, shard: str, point: str, *more: str) -> None:
    def at(reached: str) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    async with Platform.open() as platform:
        found = await platform.tenant(tenant)
        if "abort" in more:
            await platform.moves.abort(found, at=at)
        else:
            await platform.moves.move(found, to_shard=shard, may_leave_region=True, at=at)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
