"""Placing orders: from Python through a session, against the same SQL function called by pgbench."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from uuid import uuid4

from benchmarks.client import Callers
from benchmarks.lab import CUSTOMERS, PRODUCTS, Lab, numbered
from benchmarks.measure import Pace, Row, Samples, Spread, Target, compare, interleave
from benchmarks.pgbench import Load
from benchmarks.proxy import counting
from benchmarks.statements import SEARCH_PATH, opening, transaction
from cloudlab.platform import Platform
from cloudlab.shop import inventory, orders

NAME = "orders"
METHOD = (
    "orders/s of platform.session + orders.place by asyncio tasks of one process; floor: the same BEGIN, context, "
    "place_orders and COMMIT in the same two round trips by pgbench -M prepared, same login, same number of clients"
)
_TARGET = Target("≥", 0.8)

# One order a call, and what the function returns to the library is returned to pgbench too.
_PLACE = """
    SELECT p.*
    FROM place_orders(
        ARRAY[uuidv7()],
        ARRAY[
            'CL-' || to_hex((extract(epoch FROM clock_timestamp()) * 1000000)::bigint) || '-' || :client_id]::varchar[],
        ARRAY[#customer], ARRAY[NULL]::varchar[], ARRAY[NULL]::timestamptz[], ARRAY[gen_random_uuid()]::varchar[],
        ARRAY['\\x{fingerprint}'::bytea], ARRAY['0:15:00'::interval], ARRAY[NULL]::jsonb[],
        ARRAY[{places}], ARRAY[{numbers}], ARRAY[{products}], ARRAY[{quantities}]::integer[],
        ARRAY[{prices}]::numeric[]) AS p
"""


def script(context: str, lines: int, *, hot: bool = False) -> str:
    """Return the pgbench script of an order of so many lines; `hot` puts the first product into each of them."""
    drawn = [f"\\draw p{n} {1 if hot and n == 0 else PRODUCTS}" for n in range(lines)]
    place = _PLACE.format(
        places=", ".join(["1"] * lines),
        numbers=", ".join(str(n) for n in range(1, lines + 1)),
        products=", ".join(f"#p{n}" for n in range(lines)),
        quantities=", ".join(["1"] * lines),
        prices=", ".join(["NULL"] * lines),
        fingerprint="00" * 32,
    )
    return "\n".join([f"\\draw customer {CUSTOMERS}", *drawn, transaction(context, " ".join(place.split()))])


def placing(platform: Platform, lab: Lab, lines: int, *, hot: bool = False) -> Callable[[], Awaitable[None]]:
    """Return a call that places one order as the script does."""

    async def place() -> None:
        drawn = [0 if hot and n == 0 else random.randrange(PRODUCTS) for n in range(lines)]
        async with platform.session(lab.tenant) as s:
            await orders.place(
                s,
                lines=[(numbered(number), 1) for number in drawn],
                user_id=numbered(random.randrange(CUSTOMERS)),
                idempotency_key=str(uuid4()),
            )

    return place


def placing_together(platform: Platform, lab: Lab, *, hot: bool = False) -> Callable[[], Awaitable[None]]:
    """Return a call that places an order of 3 lines in a transaction shared with other callers' orders."""

    async def place() -> None:
        drawn = [0 if hot and n == 0 else random.randrange(PRODUCTS) for n in range(3)]
        order = orders.NewOrder(
            lines=[(numbered(number), 1) for number in drawn],
            user_id=numbered(random.randrange(CUSTOMERS)),
            idempotency_key=str(uuid4()),
        )
        await platform.combine(lab.tenant, orders.place_all, order, most=64)

    return place


async def _together(lab: Lab, pace: Pace, context: str) -> AsyncGenerator[Row]:
    """Measure orders that share commits, against orders one at a time by pgbench with 16 clients."""
    async with lab.platform(4) as platform:
        for callers in pace.callers(16, 64):
            samples = await interleave(
                pace,
                any=Callers(lab, callers, placing_together(platform, lab)),
                hot=Callers(lab, callers, placing_together(platform, lab, hot=True)),
                pgbench=Load(lab, script(context, 3), clients=16, settings=SEARCH_PATH),
            )
            what = f"3 lines, any SKU, combined, callers: {callers}; floor: 16 clients, one order a call"
            yield compare(NAME, what, samples, figure="any", floor="pgbench", target=Target("≥", 1.2))
            what = f"the hot SKU against any SKU, combined, callers: {callers}"
            yield compare(NAME, what, samples, figure="hot", floor="any", target=Target("≥", 0.9))


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Measure orders of 3 lines and of 26, the mean of real ones; then their round trips and their WAL."""
    context = await opening(lab)
    most: dict[bool, Samples] = {}
    for hot in (False, True):
        for callers in pace.callers(1, 4, 16):
            most[hot] = samples = await _measure(lab, pace, context, callers, 3, hot=hot)
            what = f"3 lines, {'one of them the hot SKU' if hot else 'any SKU'}, callers: {callers}"
            target = _TARGET if callers == 16 else None
            yield compare(NAME, what, samples, figure="python", floor="pgbench", target=target)
    hot_and_not = {"hot": most[True]["python"], "any": most[False]["python"]}
    yield compare(
        NAME,
        "the hot SKU against any SKU, callers: 16",
        hot_and_not,
        figure="hot",
        floor="any",
        target=Target("≥", 0.9),
    )
    async for row in _together(lab, pace, context):
        yield row
    samples = await _measure(lab, pace, context, 16, 26)
    yield compare(NAME, "26 lines, any SKU, callers: 16", samples, figure="python", floor="pgbench", target=_TARGET)
    yield await _round_trips(lab)
    count = 200 if pace.quick else 1000
    yield await _wal(lab, count, 3, Target("≤", 3072, "figure"))
    yield await _wal(lab, count, 26, None)
    yield await _in_buckets(lab, pace)


async def _measure(lab: Lab, pace: Pace, context: str, callers: int, lines: int, *, hot: bool = False) -> Samples:
    async with lab.platform(callers) as platform:
        return await interleave(
            pace,
            python=Callers(lab, callers, placing(platform, lab, lines, hot=hot)),
            pgbench=Load(lab, script(context, lines, hot=hot), clients=callers, settings=SEARCH_PATH),
        )


async def _in_buckets(lab: Lab, pace: Pace) -> Row:
    """Measure what the hot SKU costs once its stock is spread over buckets, as the worker does if many wait for it."""
    async with lab.platform(16) as platform:
        async with platform.session(lab.tenant) as s:
            count = await inventory.spread(s, numbered(0))
        samples = await interleave(
            pace,
            hot=Callers(lab, 16, placing(platform, lab, 3, hot=True)),
            any=Callers(lab, 16, placing(platform, lab, 3)),
        )
    what = f"the hot SKU in {count} buckets against any SKU, callers: 16"
    return compare(NAME, what, samples, figure="hot", floor="any", target=Target("≥", 0.9))


async def _round_trips(lab: Lab) -> Row:
    async with counting(lab.urls.app_url, lab.folder) as counter, lab.platform(host=lab.folder) as platform:
        place = placing(platform, lab, 3)
        await place()
        counter.round_trips = 0
        for _ in range(50):
            await place()
    each = Spread.of([counter.round_trips / 50])
    detail = (
        "counted by a relay on the socket: each time the client speaks after the server did; 2 = statements, COMMIT"
    )
    return Row(NAME, "round trips of an order", "", each, target=Target("≤", 2, "figure"), detail=detail)


async def _wal(lab: Lab, count: int, lines: int, target: Target | None) -> Row:
    """Place orders after a checkpoint and look at what was written to the log meanwhile."""
    async with lab.platform() as platform:
        place = placing(platform, lab, lines)
        await place()
        lab.run("CREATE EXTENSION IF NOT EXISTS pg_walinspect", "CHECKPOINT")
        ((start,),) = lab.ask("SELECT pg_current_wal_insert_lsn()::text")
        for _ in range(count):
            await place()
    (written,) = lab.ask(
        """
        SELECT pg_current_wal_insert_lsn() - %(start)s::pg_lsn, sum(record_size), sum(count)
        FROM pg_get_wal_stats(%(start)s::pg_lsn, pg_current_wal_insert_lsn())
        """,
        start=start,
    )
    total, records, number = (float(value) / count for value in written)
    detail = (
        f"{number:.0f} records; {total:,.0f} B with the page images, which the first {count:,} orders after a "
        "checkpoint write and later ones do not"
    )
    return Row(NAME, f"WAL of an order of {lines} lines", "B", Spread.of([records]), target=target, detail=detail)
