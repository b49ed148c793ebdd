"""Pages of a customer's orders: by cursor at the start and deep down, and by OFFSET for comparison."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from typing import LiteralString

from benchmarks.client import Callers
from benchmarks.lab import Lab, numbered
from benchmarks.measure import Pace, Row, Target, compare, interleave
from cloudlab.platform import Platform
from cloudlab.shop import orders
from cloudlab.values import encode_cursor

NAME = "pages"
METHOD = (
    "pages/s of 20 orders by orders.list_for_user of a customer who has them all, one caller; floor: the first page; "
    "OFFSET: the same columns in the same session; buffers and server time from pg_stat_statements"
)
_CUSTOMER = numbered(0)

# A second apart, and every seventh at the time of the one before it.
_FILL: LiteralString = """
    INSERT INTO shop.orders (tenant_id, order_id, user_id, order_number, status, currency, subtotal_amount,
                             total_amount, line_count, placed_at, created_at)
    SELECT %(tenant_id)s, uuidv7(-make_interval(secs => n)), %(user_id)s, 'PAGE-' || n, 'delivered', 'EUR', 9.99, 9.99,
           3, at, at
    FROM generate_series(1, %(count)s::integer) AS n,
         LATERAL (SELECT now() - make_interval(secs => n - (n %% 7 = 0)::integer) AS at)
"""
_DEPTH: LiteralString = """
    SELECT created_at, order_id FROM shop.orders WHERE tenant_id = %(tenant_id)s AND user_id = %(user_id)s
    ORDER BY created_at DESC, order_id DESC LIMIT 1 OFFSET %(depth)s::integer
"""
_OFFSET: LiteralString = """
    SELECT /* bench.offset */ order_id, order_number, user_id, status, currency, total_amount, line_count,
           order_version, placed_at, created_at
    FROM orders WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid
    ORDER BY created_at DESC, order_id DESC LIMIT 20 OFFSET %(depth)s::integer
"""
_COST: LiteralString = """
    SELECT sum(shared_blks_hit + shared_blks_read) / sum(calls), sum(total_exec_time) / sum(calls)
    FROM pg_stat_statements WHERE query LIKE '%%/* ' || %(tag)s || ' */%%'
"""


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Make the orders, then read a page at the start and one behind four fifths of them."""
    count = 1_000_000 if pace.full else 10_000 if pace.quick else 100_000
    customer = {"tenant_id": lab.tenant.tenant_id, "user_id": _CUSTOMER}
    lab.run(_FILL, **customer, count=count)
    lab.run("VACUUM ANALYZE shop.orders")
    depth = count * 4 // 5
    ((created_at, order_id),) = lab.ask(_DEPTH, **customer, depth=depth)
    cursor = encode_cursor(f"orders:{_CUSTOMER}", [created_at, order_id])
    async with lab.platform() as platform:
        calls = {
            "first": _by_cursor(platform, lab, None),
            "deep": _by_cursor(platform, lab, cursor),
            "offset": _by_offset(platform, lab, depth),
        }
        samples = await interleave(pace, **{name: Callers(lab, 1, call) for name, call in calls.items()})
        first = await _cost(lab, calls["first"], "orders.list_for_user")
        deep = await _cost(lab, calls["deep"], "orders.list_for_user")
        offset = await _cost(lab, calls["offset"], "bench.offset")
    what = f"cursor behind {depth:,} of {count:,} orders against the first page"
    row = compare(NAME, what, samples, figure="deep", floor="first", target=Target("≥", 1 / 1.2))
    yield replace(row, detail=f"deep: {deep}; first: {first}; {row.detail}")
    row = compare(NAME, f"OFFSET {depth:,} against the first page", samples, figure="offset", floor="first")
    yield replace(row, detail=f"OFFSET: {offset}; {row.detail}")


def _by_cursor(platform: Platform, lab: Lab, after: str | None) -> Callable[[], Awaitable[None]]:
    async def read() -> None:
        async with platform.session(lab.tenant, readonly=True) as s:
            page = await orders.list_for_user(s, _CUSTOMER, limit=20, after=after)
        if len(page.items) != 20:
            raise AssertionError("the page was not full")

    return read


def _by_offset(platform: Platform, lab: Lab, depth: int) -> Callable[[], Awaitable[None]]:
    async def read() -> None:
        async with platform.session(lab.tenant, readonly=True) as s:
            await s.fetch(dict, _OFFSET, tenant_id=lab.tenant.tenant_id, user_id=_CUSTOMER, depth=depth)

    return read


async def _cost(lab: Lab, call: Callable[[], Awaitable[None]], tag: str) -> str:
    """Let the server itself count what one statement costs it."""
    lab.run("SELECT pg_stat_statements_reset()")
    for _ in range(20):
        await call()
    ((buffers, milliseconds),) = lab.ask(_COST, tag=tag)
    return f"{buffers:,.0f} buffers, {milliseconds:.3f} ms in the server"
