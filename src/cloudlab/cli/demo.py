"""`cloudlab demo`: from nothing to a year of orders in two shops, and every promise checked.

Standard: §11.1 Design Principles
"""

import asyncio
import re
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from cloudlab import config as configuration
from cloudlab.cli import importing, loading, patience, setup
from cloudlab.cli.report import DemoReport, Invariant, TenantReport, TopProduct, as_dict, render
from cloudlab.cli.terminal import CHECK_FAILED, Json, err, out, print_json, run
from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.shop import analysis, catalog, files, invariants, readmodels, sample
from cloudlab.shop.dataset import Dataset, sum_of_lines
from cloudlab.shop.invariants import Verdict
from cloudlab.tenancy.tenants import Placement, Tenant
from cloudlab.values import Money
from cloudlab.worker import Worker

_ORDERS = 1500
_SEED = 7
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
    """One run: quiet or with bars, how long each phase took, and what was loaded."""

    quiet: bool
    loads: dict[str, loading.Loaded] = field(default_factory=dict[str, loading.Loaded])
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Time a phase."""
        started = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started


def demo(
    data: Annotated[Path | None, typer.Option(help="A folder of real orders; see `cloudlab import`.")] = None,
    orders: Annotated[int, typer.Option(min=1, help="Orders generated for each shop without data.")] = _ORDERS,
    seed: Annotated[int, typer.Option(help="Of the generated year: the same seed, the same year.")] = _SEED,
    as_json: Json = False,
) -> None:
    """Start everything, open two shops, trade for a year, check every promise, and say what came of it.

    Without servers of your own in cloudlab.toml the embedded ones are started and left running. Running it again finds
    the orders there and checks again. Exit code 1 when a promise is broken or an order was refused.

    Examples: `cloudlab demo` · `cloudlab demo --data ./shop` · `cloudlab demo --orders 200 --json`
    """
    this = _Demo(quiet=as_json)
    report = run(_run(this, data, orders, seed))
    if as_json:
        print_json(as_dict(report) | {"loads": {name: _counts(load) for name, load in this.loads.items()}})
    else:
        for name, load in this.loads.items():
            if not load.orders_new:
                err.print(f"{name}: all {load.orders_there:,} orders were there already", highlight=False, markup=False)
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
        for shop in shops:
            this.loads[shop.tenant_name] = await _load(this, platform, tenants[shop.tenant_name], shop)
        with this.phase("browse"):
            for shop in shops:
                await _browse(this, platform, tenants[shop.tenant_name], shop.dataset, seed)
        with this.phase("catch up"):
            await _catch_up(this, platform)
        with this.phase("check"):
            lag = await _lag(platform)
            verdicts = await _check(platform, list(tenants.values()), lag)
            if data:
                verdicts.append(await _as_the_files(platform, tenants[shops[-1].tenant_name], shops[-1], this.loads))
            reports = [await _report(platform, tenants[shop.tenant_name], shop, this.loads) for shop in shops]
        return DemoReport(
            tenants=reports,
            orders_per_second=_rate(this.loads.values()),
            cache_hit_ratio=platform.cache.statistics.hit_ratio,
            projection_lag=lag,
            invariants=verdicts,
            seconds=this.seconds,
            rejects_file=_write_rejects(shops, this.loads.values()),
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
    """Return the two shops; another year is traded in tenants of its own, because the same orders cannot differ."""
    year = "" if (orders, seed) == (_ORDERS, _SEED) else f"-{orders}-{seed}"
    lamps = sample.generate(seed=seed, orders=orders)
    if data is None:
        name, other = f"demo-gifts{year}", sample.generate(seed=seed + 1, orders=orders)
    else:
        folder = re.sub("[^a-z0-9]+", "-", data.resolve().name.lower()).strip("-")
        name, other = f"demo-data-{folder}"[:48], files.read(data)
    return [
        _Shop(f"demo-lamps{year}", "us-east-1", Placement.ROW, lamps),
        _Shop(name, "eu-west-1", Placement.SCHEMA, other),
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

        await patience.spread((known[sku].product_id for sku in views if sku in known), look, loading.CONCURRENCY)


async def _catch_up(this: _Demo, platform: Platform) -> None:
    behind = await _lag(platform)
    with importing.bars(quiet=this.quiet) as shown:
        task = shown.add_task("worker: events", total=behind or None)
        await Worker(platform).run_until_caught_up(lambda count: shown.advance(task, count))


async def _lag(platform: Platform) -> int:
    """Return how many events are still to be applied, over all projections and shards."""
    found = [await platform.readers.progress(shard.name) for shard in platform.config.shards]
    return sum(item.lag_events for items in found for item in items)


async def _check(platform: Platform, tenants: Sequence[Tenant], lag: int) -> list[Invariant]:
    """Check every promise for every tenant; one line each, broken when it is broken for any tenant."""
    found: list[tuple[str, Verdict]] = []
    for tenant in tenants:
        others = [other.tenant_id for other in tenants if other is not tenant]
        async with platform.session(tenant, readonly=True) as s:
            verdicts = [await invariants.isolated(s, others), *await invariants.check(s)]
            verdicts += [await invariants.summarised(s), await invariants.reconcile(s, platform.analytics)]
        found += [(tenant.tenant_name, verdict) for verdict in verdicts]
    title = next(verdict.title for _, verdict in found if verdict.invariant == "I5")
    found.append(("projections", Verdict("I5", title, lag == 0, f"{lag} events not applied")))
    return [
        _merged([(name, verdict) for name, verdict in found if verdict.invariant == invariant])
        for invariant in dict.fromkeys(verdict.invariant for _, verdict in found)
    ]


def _merged(found: Sequence[tuple[str, Verdict]]) -> Invariant:
    broken = [(name, verdict) for name, verdict in found if not verdict.holds]
    detail = "; ".join(f"{name}: {verdict.detail}" for name, verdict in broken or found)
    return Invariant(found[0][1].invariant, found[0][1].title, not broken, detail)


async def _as_the_files(
    platform: Platform, tenant: Tenant, shop: _Shop, loads: Mapping[str, loading.Loaded]
) -> Invariant:
    """Compare what stands in PostgreSQL with the files, recomputed in decimals; what was refused is left out."""
    refused = {reject.row for reject in loads[shop.tenant_name].rejects if reject.file == loading.Phase.ORDERS}
    orders = [order for order in shop.dataset.orders if order.order_number not in refused]
    lines = sum(len(order.lines) for order in orders)
    exact = sum((sum_of_lines(order.lines) for order in orders), Decimal(0))
    rounded = sum((order.total_amount for order in orders), Decimal(0))
    async with platform.session(tenant, readonly=True) as s:
        found = await invariants.totals(s)
    return Invariant(
        "FILES",
        "PostgreSQL holds what the files say",
        (found.orders, found.lines, found.line_amount, found.total_amount) == (len(orders), lines, exact, rounded),
        f"files: {len(orders)} orders, {lines} lines, {exact} exact, {rounded} rounded; PostgreSQL: "
        f"{found.orders} orders, {found.lines} lines, {found.line_amount} exact, {found.total_amount} rounded",
    )


async def _report(platform: Platform, tenant: Tenant, shop: _Shop, loads: Mapping[str, loading.Loaded]) -> TenantReport:
    loaded = loads[shop.tenant_name]
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
        revenue=Money(found.total_amount, shop.dataset.currency),
        orders_per_second=loaded.orders_per_second,
        revenue_by_month=[(month.month, month.revenue) for month in months],
        top_products=[
            TopProduct(sales.sku, known[sales.sku].name if sales.sku in known else "", sales.quantity, sales.revenue)
            for sales in top
        ],
        rejected=len(shop.dataset.rejects) + len(loaded.rejects),
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


def _counts(loaded: loading.Loaded) -> dict[str, int]:
    return {
        "orders_new": loaded.orders_new,
        "orders_there": loaded.orders_there,
        "orders_refused": loaded.orders_refused,
        "credit_notes": loaded.credit_notes,
    }
