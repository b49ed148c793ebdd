"""`cloudlab tenant move`: a tenant goes to another shard, or to another placement, while it works.

Standard: §7.2 Tenant-Based Sharding, §7.2 Geographic Sharding
"""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from cloudlab.cli.terminal import Json, err, out, print_json, run
from cloudlab.errors import InvalidInput
from cloudlab.platform import Platform
from cloudlab.tenancy.moves import Move, MoveProgress, Told
from cloudlab.tenancy.moving import MovePlan

_MIB = 2**20


def move(
    name: Annotated[str, typer.Argument(help="Name of the tenant.")],
    to: Annotated[str | None, typer.Option("--to", help="Shard to go to; by default it stays on its own.")] = None,
    placement: Annotated[
        str | None, typer.Option(help="row, schema, or database (alone on its shard); by default as it lives now.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Change nothing; say what it would take.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Undo a move that has not passed the flip.")] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="End the grace period: delete what was left behind.")
    ] = False,
    leave_region: Annotated[
        bool, typer.Option("--leave-region", help="It may go to a shard of another region.")
    ] = False,
    full_speed: Annotated[
        bool, typer.Option("--full-speed", help="Do not rest between chunks; other tenants may feel it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Move a tenant online. A move that was interrupted goes on by the same command; nobody sees an error meanwhile."""
    if plan + abort + finish > 1:
        raise InvalidInput("--plan, --abort and --finish exclude each other")

    async def work() -> Move | MovePlan | int:
        async with Platform.open() as platform:
            tenant = await platform.tenant(name)
            if abort:
                return await platform.moves.abort(tenant)
            if finish:
                return await platform.moves.finish(tenant)
            if plan:
                return await platform.moves.plan(
                    tenant, to_shard=to, placement=placement, may_leave_region=leave_region
                )
            with _bar(quiet=as_json) as bar:
                return await platform.move_tenant(
                    tenant, to_shard=to, placement=placement, may_leave_region=leave_region, gentle=not full_speed,
                    told=_told(bar, name),
                )  # fmt: skip

    _show(run(work()), as_json=as_json)


def _bar(*, quiet: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=err, disable=quiet or not err.is_terminal, transient=True)


def _told(bar: Progress, name: str) -> Told:
    """Return what moves the bar: rows are copied once and compared once."""
    task = bar.add_task(name, total=None)

    def told(progress: MoveProgress) -> None:
        done = min(progress.copied, progress.rows) + min(progress.checked, progress.rows)
        lag = f", {progress.lag_bytes / _MIB:,.1f} MiB behind" if progress.lag_bytes else ""
        bar.update(task, description=f"{name}: {progress.state}{lag}", completed=done, total=2 * progress.rows or None)

    return told


def _show(found: Move | MovePlan | int, *, as_json: bool) -> None:
    if isinstance(found, int):
        if as_json:
            print_json({"deleted_rows": found})
        else:
            typer.echo(f"{found:,} rows deleted at the source")
    elif as_json:
        print_json(asdict(found))
    elif isinstance(found, MovePlan):
        show_plan(found)
    else:
        show_move(found)


def show_plan(plan: MovePlan) -> None:
    """Print what a move would take."""
    out.print(
        f"{plan.tenant_name}: {plan.source} ({plan.source_schema}) → {plan.target} ({plan.target_schema}), "
        f"placement {plan.placement}"
    )
    out.print(f"{plan.rows:,} rows in {plan.tables} tables, about {plan.size_bytes / _MIB:,.1f} MiB")
    for what in plan.in_the_way:
        out.print(f"in the way: {what}", markup=False)


def show_move(move: Move) -> None:
    """Print what became of a move."""
    out.print(f"{move.tenant_name}: {move.source} → {move.target}, placement {move.placement}, {move.state}")
    if move.gap_ms is not None:
        out.print(
            f"{move.row_count:,} rows, {move.size_bytes / _MIB:,.1f} MiB; "
            f"{move.checked_rows or 0:,} compared and equal; writers waited {move.gap_ms:,.1f} ms"
        )
