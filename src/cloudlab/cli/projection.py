"""`cloudlab projection`: how far the readers of the feed have come, and steering them.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from itertools import groupby
from typing import Annotated
from uuid import UUID

import typer
from rich.progress import Progress
from rich.table import Column, Table

from cloudlab.cli.terminal import CHECK_FAILED, Json, err, out, print_json, run
from cloudlab.errors import CloudLabError, NotFound
from cloudlab.events.steering import ParkedEvent
from cloudlab.events.steering import Progress as LaneProgress
from cloudlab.platform import Platform
from cloudlab.shop import readmodels

app = typer.Typer(help="See how far the readers of the feed have come, and steer them.", no_args_is_help=True)
park = typer.Typer(help="Events that a projection could not apply.", no_args_is_help=True)
app.add_typer(park, name="park")

Name = Annotated[str, typer.Argument(help="Name of the projection.")]
OneShard = Annotated[str | None, typer.Option("--shard", help="On this shard only; by default on all.")]


@app.callback()
def projection() -> None:
    """See how far the readers of the feed have come, and steer them."""


@app.command("list", epilog="Example: cloudlab projection list --json")
def list_(as_json: Json = False) -> None:
    """List every projection of every shard. Exit code 1 when one is failing or has parked events."""
    found = run(_progress(None))
    if as_json:
        print_json([{"shard": shard, **asdict(item)} for shard, items in found.items() for item in items])
    else:
        table = Table(_name("shard"), _name("projection"), "state", "lanes held", "behind", "parked", "last error")
        for shard, items in found.items():
            for name, lanes in groupby(items, key=lambda item: item.projection_name):
                table.add_row(shard, name, *_summary(list(lanes)))
        out.print(table)
    if any(item.failed_attempts or item.parked_events for items in found.values() for item in items):
        raise typer.Exit(CHECK_FAILED)


def _name(header: str) -> Column:
    """A column of names: a name that is cut short cannot be typed again."""
    return Column(header, no_wrap=True, overflow="fold")


def _summary(lanes: list[LaneProgress]) -> tuple[str, ...]:
    held = sum(lane.owner_id is not None for lane in lanes)
    return (
        lanes[0].state,
        f"{held} of {len(lanes)}",
        f"{max(lane.lag_events for lane in lanes):,}",
        f"{sum(lane.parked_events for lane in lanes):,}",
        next((lane.last_error for lane in lanes if lane.last_error), ""),
    )


@app.command(epilog="Examples: cloudlab projection status order_facts · cloudlab projection status order_facts --watch")
def status(
    name: Name,
    shard: OneShard = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again every second, until interrupted.")] = False,
    as_json: Json = False,
) -> None:
    """Show each lane of a projection: who has it, how far it is, what failed."""

    async def work() -> None:
        while True:
            found = await _progress(shard)
            lanes = [(place, item) for place, items in found.items() for item in items if item.projection_name == name]
            if not lanes:
                raise NotFound(f"no projection {name} has run here", hint="`cloudlab projection list` names them.")
            if as_json:
                print_json([{"shard": place, **asdict(item)} for place, item in lanes])
            else:
                out.print(_lanes(lanes))
            if not watch:
                return
            await asyncio.sleep(1)

    run(work())


def _lanes(lanes: list[tuple[str, LaneProgress]]) -> Table:
    table = Table(_name("shard"), "lane", "state", "worker", "position", "behind", "parked", "failed", "last error")
    for shard, item in lanes:
        table.add_row(
            shard,
            str(item.lane),
            item.state,
            str(item.owner_id or "-"),
            str(item.event_position),
            f"{item.lag_events:,}",
            str(item.parked_events),
            str(item.failed_attempts),
            item.last_error or "",
        )
    return table


async def _progress(shard: str | None) -> dict[str, list[LaneProgress]]:
    async with Platform.open() as platform:
        return {name: await platform.readers.progress(name) for name in _shards(platform, shard)}


def _shards(platform: Platform, shard: str | None) -> list[str]:
    names = [each.name for each in platform.config.shards]
    if shard is not None and shard not in names:
        raise NotFound(f"there is no shard {shard}", hint=f"There are: {', '.join(names)}.")
    return [shard] if shard else names


async def _on_shards(shard: str | None, work: Callable[[Platform, str], Awaitable[None]]) -> None:
    async with Platform.open(projections=readmodels.ALL) as platform:
        for name in _shards(platform, shard):
            await work(platform, name)


@app.command(epilog="Example: cloudlab projection pause order_facts")
def pause(name: Name, shard: OneShard = None) -> None:
    """Stop a projection at once; what it has applied stays, nothing is skipped."""
    run(_on_shards(shard, lambda platform, place: platform.readers.pause(place, name)))
    err.print(f"{name} is paused; `cloudlab projection resume {name}` lets it go on")


@app.command(epilog="Example: cloudlab projection resume order_facts")
def resume(name: Name, shard: OneShard = None) -> None:
    """Let a paused projection go on where it stood."""
    run(_on_shards(shard, lambda platform, place: platform.readers.resume(place, name)))
    err.print(f"{name} goes on")


@app.command(epilog="Examples: cloudlab projection rebuild user_order_summaries · … rebuild order_facts --json")
def rebuild(name: Name, as_json: Json = False) -> None:
    """Build a projection again from all events, beside the live one, and swap the two.

    Readers go on with the live tables until the swap. A rebuild that was killed goes on where it stood.
    """

    async def work() -> float:
        async with Platform.open(projections=readmodels.ALL) as platform:
            with Progress(console=err, transient=True, disable=as_json) as bars:
                bar = bars.add_task(f"rebuilding {name}", total=None)
                return await platform.readers.rebuild(
                    platform.readers.any_named(name), lambda done, total: bars.update(bar, completed=done, total=total)
                )

    seconds = run(work())
    if as_json:
        print_json({"projection": name, "swap_seconds": round(seconds, 4)})
    else:
        err.print(f"{name} is rebuilt; the swap kept others waiting for {seconds * 1000:.1f} ms")


@app.command(epilog="Example: cloudlab projection restored eu_west_001 --yes")
def restored(
    shard: Annotated[str, typer.Argument(help="The shard whose database was restored to an earlier time.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """After a restore: make the cache and ClickHouse forget what ran ahead of the restored shard.

    Raises the shard's epoch, drops its tenants' keys from the cache, and rebuilds what is kept in ClickHouse.
    """

    async def work() -> list[str]:
        async with Platform.open(projections=readmodels.ALL) as platform:
            (name,) = _shards(platform, shard)
            return await platform.readers.restored(name)

    if not yes:
        typer.confirm(f"Was the database of {shard} restored to an earlier time?", abort=True, err=True)
    err.print(f"{shard} has a new epoch; rebuilt: {', '.join(run(work())) or 'nothing'}")


@park.command("list", epilog="Example: cloudlab projection park list order_facts --json")
def park_list(
    name: Annotated[str | None, typer.Argument(help="Of this projection; by default of all.")] = None,
    shard: OneShard = None,
    as_json: Json = False,
) -> None:
    """List what is parked, oldest first. Exit code 1 when something is."""
    found: list[tuple[str, ParkedEvent]] = []

    async def work(platform: Platform, place: str) -> None:
        found.extend([(place, item) for item in await platform.readers.parked(place, name)])

    run(_on_shards(shard, work))
    if as_json:
        print_json([{"shard": place, **asdict(item)} for place, item in found])
    else:
        table = Table(_name("shard"), _name("projection"), "position", "event", "stream", "failed", "error", "since")
        for place, item in found:
            since = item.created_at.strftime("%Y-%m-%d %H:%M:%S")
            stream, failed = str(item.aggregate_id), str(item.failed_attempts)
            position = str(item.event_position)
            table.add_row(
                place, item.projection_name, position, item.event_type, stream, failed, item.last_error, since
            )
        out.print(table if found else "nothing is parked")
    if found:
        raise typer.Exit(CHECK_FAILED)


@park.command("retry", epilog="Examples: cloudlab projection park retry order_facts · … --stream 0199d6f0-…")
def park_retry(
    name: Name,
    stream: Annotated[UUID | None, typer.Option(help="Only this stream; by default every parked one.")] = None,
    shard: OneShard = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be tried.")] = False,
) -> None:
    """Apply parked events again, each stream in its order. Exit code 1 when some are still refused."""
    tally: Counter[str] = Counter()

    async def work(platform: Platform, place: str) -> None:
        wanted = platform.readers.named(name)
        waiting = [item.aggregate_id for item in await platform.readers.parked(place, name)]
        for aggregate_id in dict.fromkeys(waiting):
            if stream not in (None, aggregate_id):
                continue
            if dry_run:
                err.print(f"{place}: {waiting.count(aggregate_id)} events of {aggregate_id} would be tried")
                continue
            try:
                tally["applied"] += await platform.readers.retry_parked(place, wanted, aggregate_id)
            except CloudLabError as error:
                tally["refused"] += 1
                err.print(f"{place}: stream {aggregate_id} is still refused: {error.message}", markup=False)

    run(_on_shards(shard, work))
    if not dry_run:
        err.print(f"{tally['applied']} events applied, {tally['refused']} streams still refused")
    if tally["refused"]:
        raise typer.Exit(CHECK_FAILED)
