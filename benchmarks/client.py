"""Our side of a comparison: callers in this process, as many as tasks of one event loop."""

import asyncio
from collections.abc import Awaitable, Callable

from benchmarks.lab import Lab
from benchmarks.measure import LEARNING, Sample, drive, percentile_ms


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
        meter = self._lab.meter()
        done = await drive(self._callers, seconds, self._call, units=self._units)
        used = meter.read()
        return Sample(
            rate=done.units / done.seconds,
            client_us=1e6 * used.client / done.units,
            server_us=1e6 * used.server / done.units,
            p50_ms=percentile_ms(done.latencies, 0.50),
            p99_ms=percentile_ms(done.latencies, 0.99),
            others=used.others,
        )

    async def _learn(self) -> None:
        for _ in range(LEARNING):
            await self._call()
