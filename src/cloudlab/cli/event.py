"""`cloudlab event`: what has happened.

Standard: §3.2 Event Store Schema
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.table import Table

from cloudlab.cli.terminal import Json, out, run
from cloudlab.errors import InvalidInput
from cloudlab.events import store
from cloudlab.platform import Platform
from cloudlab.values import Event, Stream

app = typer.Typer(help="Read what has happened.", no_args_is_help=True)

_POLL_SECONDS = 0.5


@app.command(epilog="Example: cloudlab event read Order 0199d6f0-… --tenant acme")
def read(
    aggregate_type: Annotated[str, typer.Argument(help="Type of the aggregate: Order, Product, User, …")],
    aggregate_id: Annotated[UUID, typer.Argument(help="Its id.")],
    tenant: Annotated[str, typer.Option(help="Name of the tenant.")],
    after_version: Annotated[int, typer.Option(help="Begin behind this version.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    as_json: Json = False,
) -> None:
    """Show the history of one aggregate."""

    async def work() -> list[Event]:
        async with Platform.open() as platform, platform.session(await platform.tenant(tenant), readonly=True) as s:
            stream = Stream(aggregate_type, aggregate_id)
            return await store.read_stream(s, stream, after_version=after_version, limit=limit)

    show(run(work()), as_json=as_json)


@app.command(epilog="Example: cloudlab event tail --shard eu_west_001 --follow --json")
def tail(
    shard: Annotated[str | None, typer.Option(help="Of this shard; by default the first.")] = None,
    after: Annotated[int | None, typer.Option(help="Begin behind this position; by default near the end.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="So many.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events arrive, until interrupted.")] = False,
    as_json: Json = False,
) -> None:
    """Show the last events of a shard's feed, of all its tenants, as a worker reads them."""

    async def work() -> None:
        async with Platform.open() as platform:
            name = shard or platform.config.shards[0].name
            position = after
            while True:
                events = await platform.read_feed(name, after=position, limit=limit)
                show(events, as_json=as_json)
                position = events[-1].event_position if events else position
                if not follow:
                    return
                await asyncio.sleep(0 if len(events) == limit else _POLL_SECONDS)

    if limit > 10_000:
        raise InvalidInput(f"{limit} events are too many to show at a time", hint="Ask for 10,000 at most.")
    run(work())


def show(events: Sequence[Event], *, as_json: bool) -> None:
    """Print events as a table, or as one JSON object a line."""
    if as_json:
        for event in events:
            typer.echo(json.dumps(_as_dict(event), default=str))
        return
    table = Table("position", "at", "aggregate", "version", "event", "data", show_edge=False)
    for event in events:
        table.add_row(
            str(event.event_position),
            event.created_at.strftime("%Y-%m-%d %H:%M:%S"),
            f"{event.aggregate_type} {event.aggregate_id}",
            str(event.event_version),
            event.event_type,
            json.dumps(event.event_data, default=str)[:80],
        )
    if events:
        out.print(table)


def _as_dict(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__slots__}
