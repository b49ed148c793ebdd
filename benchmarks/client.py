"""Our side of a comparison: callers in this process, as many as tasks of one event loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.lab import Lab
from benchmarks.measure import LEARNING, Sample, percentile_ms
from benchmarks.processor import Meter


class Callers:
    """So many callers that make one call after the other; each does `units` of what is counted."""

    def __init__(self, lab: Lab, callers: int, call: Callable[[], Awaitable[object]], *, units: int = 1) -> None:
        self._lab, self._callers, self._call, self._units = lab, callers, call, units
        self._learnt = False

    async def __call__(self, seconds: float) -> Sample:
        """Let them call for so long; the first time, on every connection, some calls that do not count go before."""
        if not self._learnt:
            await asyncio.gather(*(self._learn() for _ in range(self._callers)))
            self._learnt = True
        meter, latencies = Meter(self._lab.server_pid), list[float]()
        before = meter.read()
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._callers):
                tasks.create_task(self._keep_calling(began + seconds, latencies))
        elapsed = time.perf_counter() - began
        after = meter.read()
        units = self._units * len(latencies)
        return Sample(
            rate=units / elapsed,
            client_us=1e6 * (after.client - before.client) / units,
            server_us=1e6 * (after.server - before.server) / units,
            p50_ms=percentile_ms(latencies, 0.50),
            p99_ms=percentile_ms(latencies, 0.99),
            others=after.others(before),
        )

    async def _learn(self) -> None:
        for _ in range(LEARNING):
            await self._call()

    async def _keep_calling(self, until: float, latencies: list[float]) -> None:
        now = time.perf_counter()
        while True:  # once at least, however late a busy machine begins
            await self._call()
            now, before = time.perf_counter(), now
            latencies.append(now - before)
            if now >= until:
                return
