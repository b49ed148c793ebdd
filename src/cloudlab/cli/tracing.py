"""What `cloudlab event trace` shows: the tree of events, the steps of sagas, and how far the read models are.

Standard: §1.2 Data Domain Mapping
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from rich.markup import escape
from rich.tree import Tree

from cloudlab.cli.terminal import out
from cloudlab.errors import InvalidInput
from cloudlab.events.tracing import Node, Trace, trace
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.sagas.tracing import TracedStep, correlation_of, steps_of
from cloudlab.tenancy.tenants import shard_config
from cloudlab.values import Event


@dataclass(frozen=True, slots=True)
class Found:
    """The commands that were asked for, the steps of their sagas, and how far the shard's projections have read."""

    traces: Sequence[Trace]
    steps: dict[UUID, Sequence[TracedStep]]
    reached: dict[str, int]

    @property
    def last_position(self) -> int:
        """Where the last of the events stands."""
        return max(event.event_position for one in self.traces for event in one.events)


async def find(tenant_name: str, entry: UUID, within_seconds: float, since: str | None) -> Found:
    """Look up what an id of a tenant belongs to.

    Raises:
        NotFound: No event is known by it.
        InvalidInput: `since` is no time with its zone.
    """
    begin = _time(since) if since else None
    async with Platform.open() as platform, Pools(platform.config.limits) as pools:
        tenant = await platform.tenant(tenant_name)
        async with pools.transaction(shard_config(platform.config, tenant.shard).urls.worker_url) as transaction:
            within = timedelta(seconds=within_seconds)
            command = await correlation_of(transaction, tenant.tenant_id, entry) or entry
            traces = await trace(transaction, tenant.tenant_id, command, within=within, since=begin)
            steps = {
                one.correlation_id: await steps_of(
                    transaction, tenant.tenant_id, one.correlation_id, start=one.events[0].created_at, within=within
                )
                for one in traces
            }
        reached: dict[str, int] = {}
        for lane in await platform.readers.progress(tenant.shard):
            name = lane.projection_name
            reached[name] = min(lane.event_position, reached.get(name, lane.event_position))
        return Found(traces, steps, reached)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a time", hint="Write 2026-11-22T12:00:00+00:00.") from None
    return time if time.tzinfo else time.astimezone()


def show(found: Found) -> None:
    """Print a tree for each command, and a line for each projection."""
    for one in found.traces:
        first = one.events[0]
        actor = (first.metadata or {}).get("actor", "unknown")
        tree = Tree(f"[bold]{one.correlation_id}[/] {first.created_at:%Y-%m-%d %H:%M:%S} by {actor}", highlight=False)
        for node in one.roots():
            _grow(tree, node, first.created_at)
        if not one.is_complete:
            tree.add("[yellow]… and more")
        for steps in _by_saga(found.steps[one.correlation_id]):
            _grow_saga(tree, steps, first.created_at)
        out.print(tree)
    for name, position in found.reached.items():
        state = "[green]has passed it" if position >= found.last_position else f"[yellow]stands at {position}"
        out.print(f"{name} {state}", highlight=False)


def _by_saga(steps: Sequence[TracedStep]) -> list[list[TracedStep]]:
    return [list(group) for _, group in groupby(steps, key=lambda step: step.saga_id)]


def _grow_saga(tree: Tree, steps: Sequence[TracedStep], begun: datetime) -> None:
    saga = steps[0]
    branch = tree.add(
        f"[bold magenta]saga {saga.saga_type}[/] v{saga.definition_version} {saga.saga_id}: {saga.saga_status}"
    )
    for step in steps:
        after = f" [dim]+{_ms(begun, step.started_at)}" if step.started_at else ""
        took = f", took {_ms(step.started_at, step.completed_at)}" if step.started_at and step.completed_at else ""
        undo = "" if step.direction == "do" else " undo"
        # A name such as ship[0] would be taken for markup.
        name = escape(f"{step.step_type}{undo}")
        branch.add(f"[cyan]{name}[/] {step.status}, attempt {step.attempt}{after}{took}")


def _ms(begun: datetime, ended: datetime) -> str:
    return f"{(ended - begun).total_seconds() * 1000:,.0f} ms"


def _grow(tree: Tree, node: Node, begun: datetime) -> None:
    event = node.event
    after_ms = (event.created_at - begun).total_seconds() * 1000
    branch = tree.add(
        f"[bold cyan]{event.event_type}[/] {event.aggregate_type} {event.aggregate_id} v{event.event_version}"
        f" [dim]+{after_ms:,.0f} ms, position {event.event_position}"
    )
    for child in node.caused:
        _grow(branch, child, begun)


def as_dict(found: Found, describe: Callable[[Event], dict[str, Any]]) -> dict[str, Any]:
    """Return what --json prints."""

    def branch(node: Node) -> dict[str, Any]:
        return {**describe(node.event), "caused": [branch(child) for child in node.caused]}

    return {
        "commands": [
            {
                "correlation_id": one.correlation_id,
                "is_complete": one.is_complete,
                "events": [branch(node) for node in one.roots()],
                "saga_steps": [asdict(step) for step in found.steps[one.correlation_id]],
            }
            for one in found.traces
        ],
        "read_models": [
            {
                "projection": name,
                "event_position": position,
                "has_passed": position >= found.last_position,
            }
            for name, position in found.reached.items()
        ],
    }
