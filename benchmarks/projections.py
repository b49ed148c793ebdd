"""Projections: events applied exactly once, the time from commit to projection, and a rebuild under load."""

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from benchmarks.lab import Lab, numbered
from benchmarks.measure import Pace, Row, Spread, Target, percentile_ms
from benchmarks.touches import BY_PYTHON, BY_SQL, MODEL, TYPE
from cloudlab.events import store
from cloudlab.events.applying import apply_next
from cloudlab.events.projections import Following, Projection, Stores
from cloudlab.platform import Platform
from cloudlab.values import Event, NewEvent, Stream
from cloudlab.worker import Worker

NAME = "projections"
METHOD = (
    "events/s of one worker that brings a read model of PostgreSQL up to date from a checkpoint before them, exactly "
    "once, by a handler in Python and by one SQL statement a batch; milliseconds from the commit of an append to the "
    "handler, at half the rate the same process can append; a rebuild while others read and write"
)
_STREAMS = 10_000


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Measure throughput, then latency, then a rebuild."""
    lab.run(MODEL)
    try:
        for following, what, target in (
            (BY_PYTHON, "handler in Python", 40_000),
            (BY_SQL, "one SQL statement", 200_000),
        ):
            yield await _throughput(lab, pace, following, what, target)
        async for row in _latency(lab, pace):
            yield row
        async for row in _workers(lab, pace):
            yield row
        async for row in _rebuild(lab, pace):
            yield row
    finally:
        # A projection that nobody runs any more would keep every tenant from being moved: workers know all shards.
        lab.run_everywhere("DROP TABLE IF EXISTS shop.bench_touches", "DELETE FROM cloudlab.projections")


async def _throughput(lab: Lab, pace: Pace, following: Following, what: str, target: int) -> Row:
    count = 20_000 if pace.quick else 100_000
    async with lab.platform(8) as platform:
        first = await _fill(platform, lab, count)
        rates: list[float] = []
        floors: list[float] = []
        for _ in range(pace.rounds + 1):
            floors.append(count / await _read_only(lab, platform, first))
            seconds = await _drained(lab, platform, following, first)
            applied = lab.ask("SELECT coalesce(sum(touches), 0) FROM shop.bench_touches")[0][0]
            if applied != count:
                raise AssertionError(f"{applied} of {count} events were applied")
            rates.append(count / seconds)
    return Row(
        NAME,
        f"exactly once, {what}; floor: only reading the feed, by the same client",
        " events/s",
        Spread.of(rates[1:]),
        Spread.of(floors[1:]),
        Spread.of([rate / floor for rate, floor in zip(rates[1:], floors[1:], strict=True)]),
        Target("≥", target, "figure"),
        detail=f"{count:,} events in streams of 100, {following.lanes} lanes, batches of {following.batch_size:,}",
    )


async def _fill(platform: Platform, lab: Lab, count: int) -> int:
    """Append so many events in batches; return the position before the first."""
    before = lab.ask("SELECT coalesce(max(event_position), 0) FROM cloudlab.events")[0][0]
    async with platform.session(lab.tenant) as s:
        for number in range(count // 100):
            stream = Stream("Touched", numbered(100_000 + number % (_STREAMS // 100) * 100))
            await store.append(s, stream, [NewEvent(TYPE, {"n": number})] * 100, expected_version=None)
    lab.run("VACUUM ANALYZE cloudlab.events")
    return int(before)


async def _drained(lab: Lab, platform: Platform, following: Following, before: int) -> float:
    """Set a projection back to a position, empty its table, and return how long it takes to catch up."""
    holder = platform.readers.holder(lab.tenant.shard, following)
    await holder.claim()
    await holder.leave()
    lab.run("TRUNCATE shop.bench_touches")
    lab.run(
        "UPDATE cloudlab.projection_checkpoints SET event_position = %(before)s WHERE projection_name = %(name)s",
        before=before,
        name=following.name,
    )
    lanes = await holder.claim(60)
    stores = Stores(platform.cache, platform.analytics)

    async def drain(number: int) -> None:
        while True:
            batch = await apply_next(holder, stores, lanes[number])
            if batch.upto == batch.after:
                return

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(len(lanes)):
            tasks.create_task(drain(number))
    seconds = time.perf_counter() - began
    await holder.leave()
    return seconds


async def _read_only(lab: Lab, platform: Platform, before: int) -> float:
    """Return how long it takes to read the feed from a position to its end, and to do nothing with it."""
    began = time.perf_counter()
    while events := await platform.read_feed(lab.tenant.shard, after=before, limit=1000):
        before = events[-1].event_position
    return time.perf_counter() - began


@asynccontextmanager
async def _working(lab: Lab, following: Following) -> AsyncGenerator[Platform]:
    """Open a platform with a worker that follows, in this process."""
    async with Platform.open(lab.config, projections=[following]) as platform:
        working = asyncio.create_task(Worker(platform).run())
        try:
            yield platform
        finally:
            working.cancel()
            await asyncio.wait([working])


async def _latency(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Append at half the rate that 16 callers reach, and time each event from its commit to the handler."""
    committed: dict[str, float] = {}
    latencies: list[float] = []

    async def apply(_: Stores, events: Sequence[Event]) -> None:
        now = time.perf_counter()
        for event in events:
            since = committed.pop(str(event.event_data.get("sent")), None)
            if since is not None:
                latencies.append(now - since)

    async with _working(lab, Projection("bench_latency", frozenset({"BenchSent"}), apply)) as platform:
        seconds = max(pace.seconds, 0.5)  # a shorter slice may hear of nothing
        rate = await _greatest_rate(platform, lab, seconds)
        p50, p99 = list[float](), list[float]()
        for _ in range(pace.rounds):
            latencies.clear()
            await _send(platform, lab, rate / 2, seconds, committed)
            await asyncio.sleep(0.3)
            p50.append(percentile_ms(latencies, 0.50))
            p99.append(percentile_ms(latencies, 0.99))
    what = f"from commit to projection at {rate / 2:,.0f} events/s"
    yield Row(NAME, f"{what}, p50", " ms", Spread.of(p50))
    yield Row(NAME, f"{what}, p99", " ms", Spread.of(p99), target=Target("≤", 20, "figure"))


async def _greatest_rate(platform: Platform, lab: Lab, seconds: float) -> float:
    sent, until = 0, time.perf_counter() + seconds

    async def send() -> None:
        nonlocal sent
        while time.perf_counter() < until:
            await platform.append(lab.tenant, _any_stream(), [NewEvent("BenchSent", {})], expected_version=None)
            sent += 1

    await asyncio.gather(*(send() for _ in range(16)))
    return sent / seconds


async def _send(platform: Platform, lab: Lab, rate: float, seconds: float, committed: dict[str, float]) -> None:
    """Append at a fixed rate, each call on its own, and note when each was committed."""

    async def one(name: str) -> None:
        fact = NewEvent("BenchSent", {"sent": name})
        # Set before, too: the handler may hear of the event before this task hears of the commit.
        committed[name] = time.perf_counter()
        await platform.append(lab.tenant, _any_stream(), [fact], expected_version=None)

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            tasks.create_task(one(f"{time.perf_counter_ns()}-{number}"))
            await asyncio.sleep(1 / rate)


def _any_stream() -> Stream:
    return Stream("Sent", numbered(200_000 + random.randrange(_STREAMS)))


async def _workers(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Let two worker processes, then four, then one share a projection: who has which lanes, and how fast they are."""
    count = 10_000 if pace.quick else 50_000
    environment = {**os.environ, "CLOUDLAB_STATE_DIR": str(lab.folder / "stack")}
    expected = 0
    lab.run("TRUNCATE shop.bench_touches")
    async with lab.platform(8) as platform:
        await _caught_up(platform, lab, [])
        lab.run("TRUNCATE shop.bench_touches")
        for number in (2, 4, 1):
            processes = [
                await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.follower", env=environment)
                for _ in range(number)
            ]
            try:
                owners = await _shared(platform, lab, number)
                await platform.readers.pause(lab.tenant.shard, BY_PYTHON.name)
                await _fill(platform, lab, count)
                await platform.readers.resume(lab.tenant.shard, BY_PYTHON.name)
                began = time.perf_counter()
                await _caught_up(platform, lab, processes)
                seconds = time.perf_counter() - began
            finally:
                for process in processes:
                    process.kill()
                    await process.wait()
            expected += count
            applied = lab.ask("SELECT coalesce(sum(touches), 0) FROM shop.bench_touches")[0][0]
            if applied != expected:
                raise AssertionError(f"{applied} of {expected} events were applied")
            yield Row(
                NAME, f"workers: {number}, the pause of claiming included", " events/s", Spread.of([count / seconds]),
                detail=f"lanes of each worker: {owners}; {expected:,} events so far, each applied once",
            )  # fmt: skip


async def _shared(platform: Platform, lab: Lab, workers: int) -> str:
    """Wait until every lane has an owner and every worker its share; return who has which."""
    async with asyncio.timeout(30):
        while True:
            held: dict[object, list[int]] = {}
            for item in await platform.readers.progress(lab.tenant.shard):
                if item.projection_name == BY_PYTHON.name and item.owner_id and item.leased_until:
                    held.setdefault(item.owner_id, []).append(item.lane)
            if sorted(map(len, held.values())) == [BY_PYTHON.lanes // workers] * workers:
                return ", ".join(str(lanes) for lanes in held.values())
            await asyncio.sleep(0.1)


async def _caught_up(platform: Platform, lab: Lab, processes: Sequence[asyncio.subprocess.Process]) -> None:
    while True:
        if not processes:
            await platform.readers.run_once(lab.tenant.shard, BY_PYTHON)
        lanes = await platform.readers.progress(lab.tenant.shard)
        if not any(item.lag_events for item in lanes if item.projection_name == BY_PYTHON.name):
            return
        await asyncio.sleep(0.02 if processes else 0)


async def _rebuild(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Rebuild a read model while callers read and write it."""
    waits: list[float] = []
    rates: list[float] = []
    reads = failed = 0
    slowest = 0.0

    async def read(platform: Platform, going: Callable[[], bool]) -> None:
        nonlocal reads, failed, slowest
        while going():
            began = time.perf_counter()
            try:
                async with platform.session(lab.tenant, readonly=True) as s:
                    await s.execute("SELECT /* benchmarks.projections */ touches FROM bench_touches LIMIT 1")
            except Exception:  # noqa: BLE001  counted: none is allowed
                failed += 1
            reads, slowest = reads + 1, max(slowest, time.perf_counter() - began)

    async def write(platform: Platform, going: Callable[[], bool]) -> None:
        while going():
            await platform.append(lab.tenant, _touched(), [NewEvent(TYPE, {"n": 1})], expected_version=None)

    async with _working(lab, BY_SQL) as platform:
        for _ in range(pace.rounds):
            rebuilding = asyncio.create_task(platform.readers.rebuild(BY_SQL))
            began = time.perf_counter()
            events = lab.ask("SELECT count(*) FROM cloudlab.events")[0][0]

            def going(task: asyncio.Task[float] = rebuilding) -> bool:
                return not task.done()

            await asyncio.gather(*(read(platform, going) for _ in range(2)), write(platform, going))
            waits.append(1000 * await rebuilding)
            rates.append(events / (time.perf_counter() - began))
    yield Row(
        NAME, "rebuild by SQL: others wait for the swap", " ms", Spread.of(waits), target=Target("≤", 50, "figure"),
        detail=f"{reads:,} reads meanwhile, {failed} failed, the slowest took {1000 * slowest:.0f} ms",
    )  # fmt: skip
    yield Row(NAME, "rebuild by SQL: failed reads", "", Spread.of([failed]), target=Target("≤", 0, "figure"))
    yield Row(NAME, "rebuild by SQL, with readers and a writer beside it", " events/s", Spread.of(rates))


def _touched() -> Stream:
    return Stream("Touched", numbered(100_000 + random.randrange(_STREAMS // 100) * 100))
