"""`cloudlab partition`: the months of events, and their archive.

Standard: §7.1 Time-Based Partitioning
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from cloudlab import config as configuration
from cloudlab.cli.terminal import Json, out, print_json, run
from cloudlab.config import ShardConfig
from cloudlab.errors import NotFound
from cloudlab.events import archive as archiving
from cloudlab.events.archive import Moved, Partition

app = typer.Typer(help="See the months of events, and archive closed ones.", no_args_is_help=True)

Month = Annotated[str, typer.Argument(help="The month, as 2026-01.")]
Shard = Annotated[
    str | None,
    typer.Option("--shard", help="Of this shard; by default of each that has the month.", show_default=False),
]
Wait = Annotated[float, typer.Option("--wait", min=0.1, help="Wait so many seconds for transactions in the way.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what would be done.")]


@app.command("list", epilog="Example: cloudlab partition list --json")
def list_(shard: Shard = None, as_json: Json = False) -> None:
    """List the months of events of every shard: where each is, and how large."""

    async def work() -> dict[str, list[Partition]]:
        return {place.name: await archiving.partitions(place.urls) for place in _shards(shard)}

    found = run(work())
    if as_json:
        print_json([{"shard": name, **asdict(item)} for name, items in found.items() for item in items])
        return
    table = Table("shard", "month", "place", "size", box=None)
    for name, items in found.items():
        for item in items:
            table.add_row(name, f"{item.month:%Y-%m}", item.place, f"{item.size_bytes / 2**20:,.1f} MiB")
    out.print(table)


@app.command(epilog="Example: cloudlab partition ensure --months 6")
def ensure(
    months: Annotated[int, typer.Option("--months", min=0, max=120, help="So many months ahead.")] = 3,
    shard: Shard = None,
    as_json: Json = False,
) -> None:
    """Make the partitions that are missing, from this month on. A worker does it too; doing it twice does no harm."""

    async def work() -> dict[str, int]:
        return {p.name: await archiving.ensure_partitions(p.urls, months_ahead=months) for p in _shards(shard)}

    made = run(work())
    if as_json:
        print_json([{"shard": name, "made": count} for name, count in made.items()])
        return
    for name, count in made.items():
        typer.echo(f"{name}: {count or 'no'} partition{'s' if count != 1 else ''} made")


@app.command(epilog="Example: cloudlab partition archive 2026-01 --dry-run")
def archive(
    month: Month, shard: Shard = None, wait: Wait = 60.0, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Move a closed month out of the way of appends and of the feed; its events stay readable.

    If it is interrupted, the same command goes on where it stopped.
    """
    first = archiving.parse_month(month)
    _move(
        shard,
        lambda place: archiving.archive_month(place.urls, first, wait_seconds=wait, dry_run=dry_run),
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command(epilog="Example: cloudlab partition restore 2026-01 --shard eu_west_001")
def restore(
    month: Month, shard: Shard = None, wait: Wait = 60.0, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Move a month back from the archive."""
    first = archiving.parse_month(month)
    _move(
        shard,
        lambda place: archiving.restore_month(place.urls, first, wait_seconds=wait, dry_run=dry_run),
        dry_run=dry_run,
        as_json=as_json,
    )


def _move(shard: str | None, act: Callable[[ShardConfig], Awaitable[Moved]], *, dry_run: bool, as_json: bool) -> None:
    """Do it to each shard that has the month; a month that none of them has is an error."""

    async def work() -> dict[str, Moved]:
        moved: dict[str, Moved] = {}
        missing: list[NotFound] = []
        for place in _shards(shard):
            try:
                moved[place.name] = await act(place)
            except NotFound as error:
                missing.append(error)
        if not moved:
            raise missing[0]
        return moved

    found = run(work())
    if as_json:
        print_json([{"shard": name, "dry_run": dry_run, **asdict(item)} for name, item in found.items()])
        return
    for name, item in found.items():
        would = "would be: " if dry_run else ""
        typer.echo(f"{name} {item.month:%Y-%m}, {item.event_count:,} events: {would}{', '.join(item.steps)}")


def _shards(name: str | None) -> list[ShardConfig]:
    shards = [shard for shard in configuration.load().shards if name in (None, shard.name)]
    if not shards:
        raise NotFound(f"there is no shard {name}", hint="See `cloudlab status`.")
    return shards
