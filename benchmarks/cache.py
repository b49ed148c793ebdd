"""The cache: a hit through `Cache.get`, against the same client's own commands."""

from collections.abc import AsyncGenerator
from typing import Any

from valkey.asyncio import Valkey

from benchmarks.client import Callers
from benchmarks.lab import Lab
from benchmarks.measure import Pace, Row, Target, compare, interleave
from cloudlab.cache import Cache, Versioned

NAME = "cache"
METHOD = (
    "hits/s of Cache.get on copies of 250 bytes by asyncio tasks of one process; floors: GET of the same bytes, and "
    "HMGET of the same hash, by the same client (valkey-py) on its own connections"
)
_COPY = Versioned(1, {"sku": "SKU-1", "name": "Reading Lamp", "price": "49.9900", "note": "x" * 180})


async def _load() -> Versioned:
    return _COPY


async def _never() -> Versioned:
    raise AssertionError("a copy that was there was loaded again")


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Measure hits by one caller and by 32."""
    url = lab.config.cache_url
    cache, raw = Cache.connect(url), Valkey.from_url(url)
    client: Any = raw  # its commands are untyped
    try:
        await cache.get("bench:copy", _load)
        _, data = await client.execute_command("HMGET", "bench:copy", "version", "data")
        await client.execute_command("SET", "bench:bytes", data)
        for callers in pace.callers(1, 32):
            samples = await interleave(
                pace,
                cache=Callers(lab, callers, lambda: cache.get("bench:copy", _never)),
                get=Callers(lab, callers, lambda: client.get("bench:bytes")),
                hmget=Callers(lab, callers, lambda: client.hmget("bench:copy", ["version", "data"])),
            )
            for floor in ("get", "hmget"):
                yield compare(
                    NAME, f"hit against {floor.upper()}, callers: {callers}", samples, figure="cache", floor=floor,
                    target=Target("≥", 0.7),
                )  # fmt: skip
    finally:
        await client.execute_command("DEL", "bench:copy", "bench:bytes")
        await raw.aclose()
        await cache.close()
