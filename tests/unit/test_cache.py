"""The cache never shows what is older than its floor, and its loss costs time, not answers."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from cloudlab.cache import Cache, Versioned
from cloudlab.errors import NotFound, Unavailable


@pytest.fixture
async def cache(valkey_url: str) -> AsyncGenerator[Cache]:
    opened = Cache.connect(valkey_url)
    yield opened
    await opened.close()


def loader(version: int, calls: list[int] | None = None, pause: float = 0.0):
    async def load() -> Versioned:
        if calls is not None:
            calls.append(version)
        await asyncio.sleep(pause)
        return Versioned(version, {"name": f"v{version}"})

    return load


async def test_a_copy_is_kept_and_found(cache: Cache):
    calls: list[int] = []
    for _ in range(3):
        assert await cache.get("k", loader(1, calls)) == Versioned(1, {"name": "v1"})
    assert calls == [1]
    assert (cache.statistics.hits, cache.statistics.misses, cache.statistics.hit_ratio) == (2, 1, 2 / 3)


async def test_five_hundred_readers_of_a_cold_key_load_it_once(cache: Cache):
    calls: list[int] = []
    found = await asyncio.gather(*(cache.get("k", loader(1, calls, 0.05)) for _ in range(500)))
    assert len(calls) == 1
    assert {one.version for one in found} == {1}


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancellation_is_never_lost_whenever_it_comes(cache: Cache, turns: int):
    """The client of the cache sends by a function that, in Python 3.11, may return in spite of it."""
    await cache.ping()
    asking = asyncio.create_task(cache.raise_floor("k", turns + 1))
    for _ in range(turns):
        await asyncio.sleep(0)
    while asking.cancel():
        with pytest.raises(asyncio.CancelledError):
            await asking


async def test_a_slow_reader_cannot_put_an_old_copy_back(cache: Cache):
    slow = asyncio.create_task(cache.get("k", loader(1, pause=0.1)))
    await asyncio.sleep(0.05)
    await cache.raise_floor("k", 2)
    await slow
    assert (await cache.get("k", loader(2))).version == 2
    assert (await cache.get("k", loader(3))).version == 2


async def test_a_raised_floor_drops_the_copy_below_it_and_keeps_the_one_above(cache: Cache):
    await cache.get("k", loader(5))
    await cache.raise_floor("k", 4)
    assert (await cache.get("k", loader(9))).version == 5
    await cache.raise_floor("k", 6)
    assert (await cache.get("k", loader(6))).version == 6


async def test_racing_writers_leave_no_stale_copy(cache: Cache):
    truth = dict.fromkeys((f"k{number}" for number in range(50)), 1)

    async def read(key: str) -> None:
        async def load() -> Versioned:
            version = truth[key]
            await asyncio.sleep(0.001)
            return Versioned(version, {})

        for _ in range(20):
            await cache.get(key, load)

    async def write(key: str) -> None:
        for _ in range(20):
            truth[key] += 1
            await asyncio.sleep(0.001)
            await cache.raise_floor(key, truth[key])

    await asyncio.gather(*(act(key) for key in truth for act in (read, write, read)))
    for key, version in truth.items():
        assert (await cache.get(key, loader(version))).version == version


async def test_a_failed_load_keeps_nothing_and_reaches_every_waiter(cache: Cache):
    async def load() -> Versioned:
        await asyncio.sleep(0.01)
        raise NotFound

    found = await asyncio.gather(*(cache.get("k", load) for _ in range(5)), return_exceptions=True)
    assert [type(one) for one in found] == [NotFound] * 5
    assert (await cache.get("k", loader(1))).version == 1


async def test_the_caller_that_started_the_load_may_be_cancelled(cache: Cache):
    first = asyncio.create_task(cache.get("k", loader(1, pause=0.05)))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(cache.get("k", loader(2)))
    await asyncio.sleep(0.01)
    first.cancel()
    assert (await second).version == 1


async def test_a_cache_that_is_gone_costs_time_and_no_answer():
    gone = Cache.connect("redis://127.0.0.1:1")
    assert (await gone.get("k", loader(1))).version == 1
    assert gone.statistics.errors == 2
    assert not await gone.ping()
    with pytest.raises(Unavailable, match="cache"):
        await gone.raise_floor("k", 1)
    await gone.close()
