"""`cloudlab saga`: how sagas stand, and what operators can do to them.

Standard: §3.3 Saga State Management, §11.3 Operational Excellence
"""

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import datetime
from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table

from cloudlab.cli.terminal import CHECK_FAILED, Json, err, out, print_json, run
from cloudlab.errors import InvalidInput
from cloudlab.platform import Platform
from cloudlab.sagas import operations
from cloudlab.sagas.operations import Action, Listed, Tally, Timeline

app = typer.Typer(help="See how sagas stand, and steer them.", no_args_is_help=True)

STATUSES = ("running", "compensating", "completed", "compensated", "failed")

Id = Annotated[UUID, typer.Argument(help="Id of the saga.")]
OfTenant = Annotated[str, typer.Option("--tenant", "-t", help="Its tenant.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it is put on record.")]
Actor = Annotated[str, typer.Option("--actor", help="Who does it.", default_factory=getpass.getuser)]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Again every second, until interrupted.")]


@app.callback()
def saga() -> None:
    """See how sagas stand, and steer them."""


@app.command("list", epilog="Examples: cloudlab saga list --status failed · cloudlab saga list --tenant acme --watch")
def list_(
    status: Annotated[list[str] | None, typer.Option(help="Only these; by default what has not ended well.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", "-t", help="Only of this tenant.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many of each shard, the newest.")] = 100,
    watch: Watch = False,
    as_json: Json = False,
) -> None:
    """List sagas of all shards, newest first. Exit code 1 when one needs a human."""
    if wrong := set(status or ()) - set(STATUSES):
        raise InvalidInput(
            f"{', '.join(sorted(wrong))} is no status of a saga", hint=f"Choose of {', '.join(STATUSES)}."
        )
    wanted = status or ["running", "compensating", "failed"]
    found: list[tuple[str, Listed]] = []

    async def look(platform: Platform) -> None:
        tenant_id = (await platform.tenant(tenant)).tenant_id if tenant else None
        found.clear()
        for shard in platform.config.shards:
            listed = await platform.sagas.listed(shard.name, statuses=wanted, tenant_id=tenant_id, limit=limit)
            found.extend((shard.name, each) for each in listed)
        if as_json:
            print_json([{"shard": name, **asdict(each)} for name, each in found])
        else:
            out.print(_list(found) if found else "there are none")

    run(_shown(look, watch))
    if any(each.status == "failed" for _, each in found):
        raise typer.Exit(CHECK_FAILED)


def _list(found: list[tuple[str, Listed]]) -> Table:
    table = Table("saga", "name", "tenant", "status", "step", "started", "due", "waits for", "last error")
    for _, each in found:
        table.add_row(
            str(each.saga_id),
            f"{each.saga_type} v{each.definition_version}",
            each.tenant_name,
            each.status,
            str(each.current_step),
            _time(each.created_at),
            _time(each.next_at),
            each.waiting_for or "",
            each.last_error or "",
        )
    return table


@app.command(epilog="Example: cloudlab saga show 0199d6f0-… --tenant acme --watch")
def show(saga_id: Id, tenant: OfTenant, watch: Watch = False, as_json: Json = False) -> None:
    """Show the timeline of a saga: each step with its attempts, durations and errors, and what operators did."""

    async def look(platform: Platform) -> None:
        async with platform.session(await platform.tenant(tenant), readonly=True) as s:
            timeline = await operations.timeline(s, saga_id)
        if as_json:
            print_json(asdict(timeline))
        else:
            _print(timeline)

    run(_shown(look, watch))


def _print(timeline: Timeline) -> None:
    state = timeline.state
    out.print(f"[bold]{state.saga_type}[/] v{state.definition_version} {state.saga_id}: [bold]{state.status}[/]")
    out.print(f"started {_time(state.created_at)} by {state.started_by or 'unknown'}", highlight=False)
    if state.next_at:
        out.print(f"due {_time(state.next_at)}", highlight=False)
    if state.compensation_data:
        out.print(f"compensated because: {state.compensation_data}", markup=False, highlight=False)
    table = Table("at", "step", "direction", "attempt", "status", "took", "error")
    for step in timeline.steps:
        took = "" if step.seconds is None else f"{step.seconds * 1000:,.0f} ms"
        error = step.error_message or ""
        at = _time(step.started_at)
        table.add_row(at, step.step_type, step.direction, str(step.attempt), step.status, took, error)
    out.print(table)
    for action in timeline.actions:
        step_name = f" {action.step_type}" if action.step_type else ""
        said = f"{_time(action.created_at)} {action.action}{step_name} by {action.actor}: {action.reason}"
        out.print(said, markup=False, highlight=False)


@app.command(epilog="Example: cloudlab saga stats --watch")
def stats(watch: Watch = False, as_json: Json = False) -> None:
    """Count the sagas of every shard by name, version and status. Exit code 1 when some need a human."""
    found: list[tuple[str, Tally]] = []

    async def look(platform: Platform) -> None:
        found.clear()
        for shard in platform.config.shards:
            found.extend((shard.name, each) for each in await platform.sagas.tallies(shard.name))
        if as_json:
            print_json([{"shard": name, **asdict(each)} for name, each in found])
            return
        table = Table("shard", "saga", "status", "sagas", "at work", "due", "late")
        for name, each in found:
            counts = (f"{count:,}" for count in (each.sagas, each.leased, each.due))
            late = f"{each.late_seconds:,.1f} s"
            table.add_row(name, f"{each.saga_type} v{each.definition_version}", each.status, *counts, late)
        out.print(table)

    run(_shown(look, watch))
    if any(each.status == "failed" for _, each in found):
        raise typer.Exit(CHECK_FAILED)


@app.command(epilog="Example: cloudlab saga retry 0199d6f0-… --tenant acme --reason 'the provider is back'")
def retry(saga_id: Id, tenant: OfTenant, reason: Reason, actor: Actor) -> None:
    """Let a saga go on now, with its attempts counted anew."""
    _steer(saga_id, tenant, "retry", reason, actor)


@app.command(epilog="Example: cloudlab saga undo 0199d6f0-… --tenant acme --reason 'agreed with the customer'")
def undo(saga_id: Id, tenant: OfTenant, reason: Reason, actor: Actor) -> None:
    """Compensate a saga that has not ended, behind its pivot too."""
    _steer(saga_id, tenant, "undo", reason, actor)


@app.command(epilog="Example: cloudlab saga cancel 0199d6f0-… --tenant acme --reason 'ordered by mistake'")
def cancel(saga_id: Id, tenant: OfTenant, reason: Reason, actor: Actor) -> None:
    """Compensate a saga that has not passed its pivot."""
    _steer(saga_id, tenant, "cancel", reason, actor)


@app.command(epilog="Example: cloudlab saga skip 0199d6f0-… notify --tenant acme --reason 'called them instead'")
def skip(
    saga_id: Id,
    step: Annotated[str, typer.Argument(help="The step, as `saga show` names it.")],
    tenant: OfTenant,
    reason: Reason,
    actor: Actor,
) -> None:
    """Take the step a saga is at as done; while it is compensated, that step's compensation."""
    _steer(saga_id, tenant, "skip", reason, actor, step=step)


@app.command(epilog="Example: cloudlab saga migrate 0199d6f0-… 2 --tenant acme --reason 'step b was wrong'")
def migrate(
    saga_id: Id,
    version: Annotated[int, typer.Argument(min=1, help="The version of its definition it goes on with.")],
    tenant: OfTenant,
    reason: Reason,
    actor: Actor,
) -> None:
    """Let a running saga go on with another version of its definition; steps it has completed keep their names."""
    _steer(saga_id, tenant, "migrate", reason, actor, version=version)


def _steer(
    saga_id: UUID,
    tenant: str,
    action: Action,
    reason: str,
    actor: str,
    *,
    step: str | None = None,
    version: int | None = None,
) -> None:
    async def work() -> str:
        async with Platform.open() as platform, platform.session(await platform.tenant(tenant)) as s:
            return await operations.steer(s, saga_id, action, actor=actor, reason=reason, step=step, version=version)

    err.print(f"saga {saga_id} is {run(work())}")


async def _shown(look: Callable[[Platform], Awaitable[None]], watch: bool) -> None:
    async with Platform.open() as platform:
        await look(platform)
        while watch:
            await asyncio.sleep(1)
            await look(platform)


def _time(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else ""
