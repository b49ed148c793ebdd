"""`cloudlab event`: what has happened.

Personal fields are shown as they stand in the store: sealed.

Standard: §3.2 Event Store Schema
"""

import asyncio
import getpass
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast
from uuid import UUID

import typer
from rich.table import Table

from cloudlab.cli import tracing
from cloudlab.cli.terminal import Json, err, out, print_json, run
from cloudlab.errors import InvalidInput
from cloudlab.events import store
from cloudlab.platform import Platform
from cloudlab.shop import readmodels
from cloudlab.values import Cause, Event, NewEvent, Stream

app = typer.Typer(help="Read what has happened, and what one command caused.", no_args_is_help=True)

_POLL_SECONDS = 0.5
_PAGE = 1_000
_MOST = 10_000

Tenant = Annotated[str, typer.Option(help="Name of the tenant.")]
AggregateType = Annotated[str, typer.Argument(help="Type of the aggregate: Order, Product, User, …")]
AggregateId = Annotated[UUID, typer.Argument(help="Its id.")]


@app.command(
    epilog="Examples: cloudlab event read Order 0199d6f0-… --tenant acme · "
    "cloudlab event read Order 0199d6f0-… --tenant acme --backward --limit 1 --json"
)
def read(
    aggregate_type: AggregateType,
    aggregate_id: AggregateId,
    tenant: Tenant,
    after_version: Annotated[
        int | None, typer.Option(help="Begin behind this version in the direction of reading.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    backward: Annotated[bool, typer.Option("--backward", help="The newest first.")] = False,
    as_json: Json = False,
) -> None:
    """Show the history of one aggregate, archived months too."""

    async def work() -> list[Event]:
        async with Platform.open() as platform, platform.session(await platform.tenant(tenant), readonly=True) as s:
            stream = Stream(aggregate_type, aggregate_id)
            return await store.read_stream(s, stream, after_version=after_version, limit=limit, backward=backward)

    show(run(work()), as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Filter:
    """What `tail` shows; None and empty let everything pass."""

    types: frozenset[str]
    tenant_id: UUID | None
    aggregate_id: UUID | None

    @property
    def is_open(self) -> bool:
        return not (self.types or self.tenant_id or self.aggregate_id)

    def __call__(self, event: Event) -> bool:
        return (
            (not self.types or event.event_type in self.types)
            and self.tenant_id in (None, event.tenant_id)
            and self.aggregate_id in (None, event.aggregate_id)
        )


@app.command(
    epilog="Examples: cloudlab event tail --tenant acme --type OrderPaid · "
    "cloudlab event tail --shard eu_west_001 --follow --json"
)
def tail(
    shard: Annotated[
        str | None, typer.Option(help="Of this shard; by default that of the tenant, or the first.")
    ] = None,
    after: Annotated[int | None, typer.Option(help="Begin behind this position; by default near the end.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="So many.")] = 10,
    types: Annotated[list[str] | None, typer.Option("--type", help="Only of this type; may be repeated.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant.")] = None,
    aggregate: Annotated[UUID | None, typer.Option(help="Only of this aggregate.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as events arrive, until interrupted.")] = False,
    as_json: Json = False,
) -> None:
    """Show the last events of a shard's feed, of all its tenants, as a worker reads them.

    With a filter, the last ones among the 10,000 newest of the feed, or the first behind --after.
    """

    async def work() -> None:
        async with Platform.open() as platform:
            owner = await platform.tenant(tenant) if tenant else None
            name = shard or (owner.shard if owner else platform.config.shards[0].name)
            wanted = _Filter(frozenset(types or ()), owner.tenant_id if owner else None, aggregate)
            position = await _show_some(platform, name, after, limit, wanted, as_json=as_json)
            while follow:
                events = await platform.read_feed(name, after=position, limit=_PAGE)
                show([event for event in events if wanted(event)], as_json=as_json)
                position = events[-1].event_position if events else position
                await asyncio.sleep(0 if len(events) == _PAGE else _POLL_SECONDS)

    run(work())


async def _show_some(
    platform: Platform, shard: str, after: int | None, limit: int, wanted: _Filter, *, as_json: bool
) -> int:
    """Show the first events behind a position, or the last there are; return the position that was reached."""
    if after is None:
        events = await platform.read_feed(shard, limit=limit if wanted.is_open else _MOST)
        show([event for event in events if wanted(event)][-limit:], as_json=as_json)
        return events[-1].event_position if events else 0
    left, position = limit, after
    while left:
        events = await platform.read_feed(shard, after=position, limit=left if wanted.is_open else _PAGE)
        found = [event for event in events if wanted(event)][:left]
        show(found, as_json=as_json)
        left -= len(found)
        if not events:
            break
        position = events[-1].event_position if left else found[-1].event_position
    return position


@app.command(
    epilog='Examples: cloudlab event append Order 0199d6f0-… OrderNoted \'{"note": "called"}\' --tenant acme · '
    "cloudlab event append Order 0199d6f0-… OrderNoted '{}' --tenant acme --expected-version 7 --yes"
)
def append(
    aggregate_type: AggregateType,
    aggregate_id: AggregateId,
    event_type: Annotated[str, typer.Argument(help="Type of the event, in the past tense: OrderNoted.")],
    data: Annotated[str, typer.Argument(help="Its payload: a JSON object; amounts as strings.")],
    tenant: Tenant,
    expected_version: Annotated[
        int | None, typer.Option(min=0, help="Refuse unless the stream is at this version; 0: it must be new.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Append one event by hand. History cannot be taken back: read models and sagas will act on it.

    The event names you as its actor. No rule of the shop is checked: use its own commands where there is one.
    """
    payload = _payload(data)
    stream = Stream(aggregate_type, aggregate_id)
    if not yes:
        err.print(
            f"{event_type} is appended to {aggregate_type} {aggregate_id} of {tenant}, for ever:", highlight=False
        )
        err.print(json.dumps(payload, ensure_ascii=False, indent=2), markup=False)
        typer.confirm("Append it?", abort=True, err=True)

    async def work() -> Event:
        cause = Cause(actor=f"operator:{getpass.getuser()}")
        async with (
            Platform.open(projections=readmodels.ALL) as platform,
            platform.session(await platform.tenant(tenant), cause=cause) as s,
        ):
            event = NewEvent(event_type, payload)
            version = await store.append(s, stream, [event], expected_version=expected_version)
            return (await store.read_stream(s, stream, after_version=version - 1, limit=1))[0]

    show([run(work())], as_json=as_json)


def _payload(text: str) -> dict[str, Any]:
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"the payload is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput("the payload must be a JSON object", hint="Write '{}' for an event without any.")
    return cast(dict[str, Any], value)


@app.command(
    epilog="Examples: cloudlab event trace 0199d6f0-… --tenant acme · "
    "cloudlab event trace 0199d6f0-… --tenant acme --within-seconds 86400 --json"
)
def trace(
    entry: Annotated[UUID, typer.Argument(help="A correlation id, or the id of an event, a saga or an aggregate.")],
    tenant: Tenant,
    within_seconds: Annotated[
        float, typer.Option(min=1, help="How long after its beginning a command may have caused something.")
    ] = 600,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="ISO 8601; where to look when the id carries no time.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show everything that one command caused: a tree of events, the steps of sagas, the read models that followed.

    Of an aggregate: its last 20 commands. It reads the shard's feed for --within-seconds from each on: about a second
    for two million events.
    """
    found = run(tracing.find(tenant, entry, within_seconds, since))
    if as_json:
        print_json(tracing.as_dict(found, as_dict))
    else:
        tracing.show(found)


def show(events: Sequence[Event], *, as_json: bool) -> None:
    """Print events as a table, or as one JSON object a line."""
    if as_json:
        for event in events:
            typer.echo(json.dumps(as_dict(event), default=str, ensure_ascii=False))
        return
    table = Table("position", "at", "aggregate", "version", "event", "data", show_edge=False)
    for event in events:
        table.add_row(
            str(event.event_position),
            event.created_at.strftime("%Y-%m-%d %H:%M:%S"),
            f"{event.aggregate_type} {event.aggregate_id}",
            str(event.event_version),
            event.event_type,
            json.dumps(event.event_data, default=str, ensure_ascii=False)[:80],
        )
    if events:
        out.print(table)


def as_dict(event: Event) -> dict[str, Any]:
    """Return an event as what JSON shows of it."""
    return {name: getattr(event, name) for name in event.__slots__}
