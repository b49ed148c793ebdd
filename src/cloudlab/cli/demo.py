"""`cloudlab demo`: from nothing to a year of orders in two shops, and every promise checked.

Standard: §11.1 Design Principles
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from cloudlab import config as configuration
from cloudlab.cli import importing, loading, setup
from cloudlab.cli.report import DemoReport, Invariant, TenantReport, TopProduct, as_dict, render
from cloudlab.cli.terminal import CHECK_FAILED, Json, err, out, print_json, run
from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.shop import analysis, catalog, files, invariants, readmodels, sample
from cloudlab.shop.dataset import Dataset
from cloudlab.shop.invariants import Verdict
from cloudlab.tenancy.tenants import Placement, Tenant
from cloudlab.values import Money
from cloudlab.worker import Worker

_MOST_VIEWS = 20_000
_REJECTS = Path("rejects.csv")


@dataclass(frozen=True, slots=True)
class _Shop:
    """A shop of the demo: where it lives and what is traded in it."""

    tenant_name: str
    region: str
    placement: Placement
    dataset: Dataset


@dataclass(slots=True)
class _Demo:
    """One run: quiet or with bars, and how long each phase took."""

    quiet: bool
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Time a phase."""
        started = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started


def demo(
    data: Annotated[Path | None, typer.Option(help="A folder of real orders; see `cloudlab import`.")] = None,
    orders: Annotated[int, typer.Option(min=1, help="Orders generated for each shop without data.")] = 1500,
    seed: Annotated[int, typer.Option(help="Of the generated year: the same seed, the same year.")] = 7,
    as_json: Json = False,
) -> None:
    """Start everything, open two shops, trade for a year, check every promise, and say what came of it.

    Without servers of your own in cloudlab.toml the embedded ones are started and left running. Running it again finds
    the orders there and checks again. Exit code 1 when a promise is broken or an order was refused.

    Examples: `cloudlab demo` · `cloudlab demo --data ./shop` · `cloudlab demo --orders 200 --json`
    """
    report = run(_run(_Demo(quiet=as_json), data, orders, seed))
    if as_json:
        print_json(as_dict(report))
    else:
        render(report, out)
    if not report.is_green or report.rejects_file:
        raise typer.Exit(CHECK_FAILED)


async def _run(this: _Demo, data: Path | None, orders: int, seed: int) -> DemoReport:
    with this.phase("start"):
        config = await _ready(quiet=this.quiet)
    with this.phase("read"):
        shops = await asyncio.to_thread(_shops, data, orders, seed)
    config = importing.with_connections(config, loading.CONCURRENCY)
    async with Platform.open(config, projections=readmodels.ALL) as platform:
        tenants = {
            shop.tenant_name: await importing.existing_or_new(
                platform, shop.tenant_name, region=shop.region, placement=shop.placement
            )
            for shop in shops
        }
        loaded = {shop.tenant_name: await _load(this, platform, tenants[shop.tenant_name], shop) for shop in shops}
        with this.phase("browse"):
            for shop in shops:
                await _browse(this, platform, tenants[shop.tenant_name], shop.dataset, seed)
        with this.phase("catch up"):
            await _catch_up(this, platform)
        with this.phase("check"):
            verdicts = await _check(platform, list(tenants.values()), shops if data else [])
            reports = [
                await _report(platform, tenants[shop.tenant_name], shop.dataset, loaded[shop.tenant_name])
                for shop in shops
            ]
        lag = sum([item.lag_events for shard in config.shards for item in await platform.progress(shard.name)])
        return DemoReport(
            tenants=reports,
            orders_per_second=_rate(loaded.values()),
            cache_hit_ratio=platform.cache.statistics.hit_ratio,
            projection_lag=lag,
            invariants=verdicts,
            seconds=this.seconds,
            rejects_file=_write_rejects(shops, loaded.values()),
        )


async def _ready(*, quiet: bool) -> Config:
    """Use the servers that are configured; without any, start the embedded ones."""
    if configuration.names_servers():
        config = configuration.load()
        await setup.make_ready(config)
        return config
    with err.status("starting PostgreSQL, Valkey and ClickHouse") as line:
        return await setup.bring_up(configuration.state_dir(), progress=None if quiet else line.update)


def _shops(data: Path | None, orders: int, seed: int) -> list[_Shop]:
    generated = sample.generate(seed=seed, orders=orders)
    other = files.read(data) if data else sample.generate(seed=seed + 1, orders=orders)
    return [
        _Shop("demo-lamps", "us-east-1", Placement.ROW, generated),
        _Shop("demo-gifts" if data is None else "demo-import", "eu-west-1", Placement.SCHEMA, other),
    ]


async def _load(this: _Demo, platform: Platform, tenant: Tenant, shop: _Shop) -> loading.Loaded:
    with this.phase("load"), importing.loading_bars(shop.dataset, shop.tenant_name, quiet=this.quiet) as tell:
        return await loading.load(platform, tenant, shop.dataset, progress=tell)


async def _browse(this: _Demo, platform: Platform, tenant: Tenant, dataset: Dataset, seed: int) -> None:
    """Look at products as customers do before they buy, through the cache."""
    async with platform.session(tenant, readonly=True) as s:
        skus = sorted({product.sku for product in dataset.products})
        known = await catalog.find_by_skus(s, skus)
    views = list(islice(sample.browsing(dataset, seed), _MOST_VIEWS))
    with importing.bars(quiet=this.quiet) as shown:
        task = shown.add_task(f"{tenant.tenant_name}: views", total=len(views))

        async def look(product_id: UUID) -> None:
            await catalog.view(
                platform.cache, lambda: platform.session(tenant, readonly=True), tenant.tenant_id, product_id
            )
            shown.advance(task)

        async with _at_most(16) as start:
            for sku in views:
                if sku in known:
                    await start(look(known[sku].product_id))


@asynccontextmanager
async def _at_most(count: int) -> AsyncGenerator[Callable[[Coroutine[Any, Any, None]], Coroutine[Any, Any, None]]]:
    """Run coroutines side by side, so many at a time; leaving the block waits for all of them."""
    free = asyncio.Semaphore(count)
    async with asyncio.TaskGroup() as tasks:

        async def hold(work: Coroutine[Any, Any, None]) -> None:
            try:
                await work
            finally:
                free.release()

        async def start(work: Coroutine[Any, Any, None]) -> None:
            await free.acquire()
            tasks.create_task(hold(work))

        yield start


async def _catch_up(this: _Demo, platform: Platform) -> None:
    behind = sum([item.lag_events for shard in platform.config.shards for item in await platform.progress(shard.name)])
    with importing.bars(quiet=this.quiet) as shown:
        task = shown.add_task("worker: events", total=behind or None)
        await Worker(platform).run_until_caught_up(lambda count: shown.advance(task, count))


async def _check(platform: Platform, tenants: Sequence[Tenant], imported: Sequence[_Shop]) -> list[Invariant]:
    """Check every promise for every tenant; one line each, broken when it is broken for any tenant."""
    found: list[tuple[Tenant, Verdict]] = []
    for tenant in tenants:
        others = [other.tenant_id for other in tenants if other is not tenant]
        async with platform.session(tenant, readonly=True) as s:
            verdicts = [await invariants.isolated(s, others), *await invariants.check(s)]
            verdicts += [await invariants.summarised(s), await invariants.reconcile(s, platform.analytics)]
            for shop in imported:
                if shop.tenant_name == tenant.tenant_name:
                    verdicts.append(_as_imported(shop.dataset, await invariants.totals(s)))
        found += [(tenant, verdict) for verdict in verdicts]
    merged: list[Invariant] = []
    for name in sorted({verdict.invariant for _, verdict in found}, key=lambda text: (len(text), text)):
        same = [(tenant, verdict) for tenant, verdict in found if verdict.invariant == name]
        broken = [(tenant, verdict) for tenant, verdict in same if not verdict.holds]
        detail = "; ".join(f"{tenant.tenant_name}: {verdict.detail}" for tenant, verdict in broken or same)
        merged.append(Invariant(name, same[0][1].title, not broken, detail))
    return merged


def _as_imported(dataset: Dataset, found: invariants.Totals) -> Verdict:
    """Compare what stands in PostgreSQL with the files, recomputed in decimals."""
    lines = sum((line.quantity * line.unit_price for order in dataset.orders for line in order.lines), Decimal(0))
    total = sum((order.total_amount for order in dataset.orders), Decimal(0))
    holds = (found.orders, found.lines, found.line_amount) == (dataset.order_count, dataset.line_count, lines)
    return Verdict(
        "FILES",
        "PostgreSQL holds what the files say",
        holds and found.total_amount == total,
        f"files: {dataset.order_count} orders, {dataset.line_count} lines, {lines} exact, {total} rounded; "
        f"PostgreSQL: {found.orders} orders, {found.lines} lines, {found.line_amount} exact, {found.total_amount}",
    )


async def _report(platform: Platform, tenant: Tenant, dataset: Dataset, loaded: loading.Loaded) -> TenantReport:
    found = await invariants.analytics_totals(platform.analytics, tenant.tenant_id)
    months = await analysis.revenue_by_month(platform.analytics, tenant.tenant_id)
    top = await analysis.top_products(platform.analytics, tenant.tenant_id, limit=5)
    async with platform.session(tenant, readonly=True) as s:
        known = await catalog.find_by_skus(s, [sales.sku for sales in top])
    return TenantReport(
        tenant_name=tenant.tenant_name,
        placement=tenant.placement,
        region=tenant.region,
        orders=found.orders,
        lines=found.lines,
        revenue=Money(found.total_amount, dataset.currency),
        orders_per_second=loaded.orders_per_second,
        revenue_by_month=[(month.month, month.revenue) for month in months],
        top_products=[
            TopProduct(sales.sku, known[sales.sku].name if sales.sku in known else "", sales.quantity, sales.revenue)
            for sales in top
        ],
        rejected=len(dataset.rejects) + len(loaded.rejects),
    )


def _rate(loads: Iterable[loading.Loaded]) -> float:
    """Return the orders placed and delivered a second over all tenants; 0 when all were there."""
    done = list(loads)
    seconds = sum(each.seconds.get(loading.Phase.ORDERS, 0.0) for each in done if each.orders_new)
    return sum(each.orders_new for each in done) / seconds if seconds else 0.0


def _write_rejects(shops: Sequence[_Shop], loads: Iterable[loading.Loaded]) -> str | None:
    """Write down what was refused, by the files or by the shop; None when nothing was."""
    refused = [reject for shop in shops for reject in shop.dataset.rejects]
    refused += [reject for each in loads for reject in each.rejects]
    if not refused:
        return None
    files.write_rejects(refused, _REJECTS)
    return str(_REJECTS)
