"""`cloudlab import`: a folder of CSV files becomes a shop.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

import dataclasses
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from cloudlab import config as configuration
from cloudlab.cli import loading
from cloudlab.cli.terminal import CHECK_FAILED, Json, err, out, print_json, run
from cloudlab.config import Config
from cloudlab.errors import NotFound
from cloudlab.platform import Platform
from cloudlab.shop import files, readmodels
from cloudlab.shop.dataset import Dataset
from cloudlab.tenancy.tenants import Placement, Tenant
from cloudlab.values import Money


def import_(
    folder: Annotated[Path, typer.Argument(help="The folder with orders.csv, order_items.csv, … (or .csv.gz).")],
    tenant: Annotated[str, typer.Option(help="Into this tenant's shop; created if it is not there.")],
    region: Annotated[str | None, typer.Option(help="Region of a new tenant.")] = None,
    placement: Annotated[Placement, typer.Option(help="Placement of a new tenant.")] = Placement.ROW,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Groups of orders on their way at a time.")] = (
        loading.CONCURRENCY
    ),
    rejects: Annotated[Path, typer.Option(help="Where to write what is refused.")] = Path("rejects.csv"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and judge the files, change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Import a shop's products, customers, orders and credit notes through the ordinary verbs of the package.

    It may be killed at any moment and run again: what is there stays, what is half way is finished. Exit code 1 when
    anything was refused.

    Examples: `cloudlab import ./shop --tenant acme` · `cloudlab import ./shop --tenant acme --dry-run`
    """
    with err.status(f"reading {folder}"):
        dataset = files.read(folder)
    if dry_run:
        summary = _read_only(dataset)
        refused = list(dataset.rejects)
    else:
        loaded = run(_import(dataset, tenant, region, placement, concurrency, quiet=as_json))
        summary = _summary(loaded)
        refused = [*dataset.rejects, *loaded.rejects]
    if refused:
        files.write_rejects(refused, rejects)
        summary["rejects_file"] = str(rejects)
    summary["refused_rows"] = len(refused)
    if as_json:
        print_json(summary)
    else:
        for name, value in summary.items():
            out.print(f"{name.replace('_', ' '):>20}  {value}", highlight=False, markup=False)
    if refused:
        raise typer.Exit(CHECK_FAILED)


async def _import(
    dataset: Dataset, name: str, region: str | None, placement: Placement, concurrency: int, *, quiet: bool
) -> loading.Loaded:
    config = with_connections(configuration.load(), concurrency)
    async with Platform.open(config, projections=readmodels.ALL) as platform:
        tenant = await existing_or_new(platform, name, region=region, placement=placement)
        with loading_bars(dataset, tenant.tenant_name, quiet=quiet) as tell:
            return await loading.load(platform, tenant, dataset, concurrency=concurrency, progress=tell)


def with_connections(config: Config, count: int) -> Config:
    """Return the configuration with room for so many sessions at a time."""
    size = max(config.limits.pool_max_size, count)
    return dataclasses.replace(config, limits=dataclasses.replace(config.limits, pool_max_size=size))


async def existing_or_new(platform: Platform, name: str, *, region: str | None, placement: Placement) -> Tenant:
    """Return the tenant of this name, created if it is not there or was only half made."""
    try:
        tenant = await platform.tenant(name)
    except NotFound:
        return await platform.create_tenant(name, region=region, placement=placement)
    if tenant.state == "creating":
        return await platform.create_tenant(name, region=tenant.region, placement=tenant.placement)
    return tenant


@contextmanager
def loading_bars(dataset: Dataset, title: str, *, quiet: bool) -> Generator[loading.Progress]:
    """Show a bar for each phase of a load on standard error."""
    totals = {
        loading.Phase.PRODUCTS: len(dataset.products),
        loading.Phase.CUSTOMERS: len(dataset.customers),
        loading.Phase.ORDERS: dataset.order_count,
        loading.Phase.CREDIT_NOTES: len({line.credit_note for line in dataset.credit_lines}),
    }
    with bars(quiet=quiet) as shown:
        tasks: dict[loading.Phase, TaskID] = {}

        def tell(phase: loading.Phase, done: int, lines: int) -> None:
            if phase not in tasks:
                tasks[phase] = shown.add_task(f"{title}: {phase}", total=totals[phase])
            shown.advance(tasks[phase], done)

        yield tell


def bars(*, quiet: bool) -> Progress:
    """Make a progress display with count, rate and time left; nothing is shown when quiet or not on a terminal."""
    return Progress(
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=err,
        disable=quiet or not err.is_terminal,
    )


class _Rate(ProgressColumn):
    """How many a second; nothing before it is known."""

    def render(self, task: Task) -> Text:
        """Show the speed of a bar."""
        return Text(f"{task.speed:,.0f}/s" if task.speed else "", style="progress.data.speed")


def _read_only(dataset: Dataset) -> dict[str, Any]:
    return {
        "products": len(dataset.products),
        "customers": len(dataset.customers),
        "orders": dataset.order_count,
        "lines": dataset.line_count,
        "revenue": str(Money(dataset.revenue, dataset.currency)),
    }


def _summary(loaded: loading.Loaded) -> dict[str, Any]:
    return {
        "orders_new": loaded.orders_new,
        "orders_there": loaded.orders_there,
        "orders_refused": loaded.orders_refused,
        "lines": loaded.lines,
        "revenue": str(Money(loaded.amount, loaded.currency)),
        "credit_notes": loaded.credit_notes,
        "orders_per_second": round(loaded.orders_per_second, 1),
        "seconds": round(sum(loaded.seconds.values()), 1),
    }
