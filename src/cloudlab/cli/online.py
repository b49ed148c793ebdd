"""`cloudlab online`: change the tables of any PostgreSQL database while it serves.

Standard: §6.2 Zero-Downtime Migrations
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from cloudlab.cli import terminal
from cloudlab.cli.terminal import Json
from cloudlab.schema import online, online_operations
from cloudlab.schema.online_journal import OperationStatus
from cloudlab.schema.online_locks import Courtesy
from cloudlab.schema.online_running import Manners, Note
from cloudlab.schema.online_steps import Phase, Step

app = typer.Typer(
    help="Change tables of any PostgreSQL 15+ while they are read and written.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

DatabaseOption = Annotated[
    str,
    typer.Option(
        "--database",
        metavar="URL",
        envvar="DATABASE_URL",
        help="A login that owns the tables, straight to the server.",
        show_default=False,
        show_envvar=True,
    ),
]
SchemaOption = Annotated[str, typer.Option("--schema", metavar="NAME", help="Where the tables are.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Change nothing; print every step's SQL and its lock.")]
NumberArgument = Annotated[int, typer.Argument(metavar="ID", help="Its number in `online status`.", show_default=False)]
WaitOption = Annotated[float, typer.Option("--wait", metavar="SECONDS", help="How long to wait for a lock.")]
EndOption = Annotated[
    float | None,
    typer.Option(
        "--end-after",
        metavar="SECONDS",
        help="Terminate transactions in the way that are older than this; by default none is ended.",
        show_default=False,
    ),
]
BatchOption = Annotated[float, typer.Option("--batch-ms", min=1, help="How long a batch should take.")]
LagOption = Annotated[float, typer.Option("--replica-lag", metavar="SECONDS", help="Wait while a replica is behind.")]
WalOption = Annotated[
    float | None,
    typer.Option("--wal-rate", metavar="MB/S", help="Wait while the server writes more WAL.", show_default=False),
]


@app.command(
    epilog="Examples:  [bold]cloudlab online run add_index table=items columns=price --database URL[/]  ·  "
    "[bold]cloudlab online run rename_column table=items column=name to=title --dry-run[/]  ·  "
    "[bold]cloudlab online run rename_column table=items column=name to=title --phase contract[/]"
)
def run(
    operation: Annotated[str, typer.Argument(help="See `online list`.", show_default=False)],
    database: DatabaseOption,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE…", help="What it is asked with.", show_default=False)
    ] = None,
    schema: SchemaOption = "public",
    phase: Annotated[Phase, typer.Option("--phase", help="Contract once no old code runs.")] = Phase.EXPAND,
    wait: WaitOption = 300.0,
    end_after: EndOption = None,
    batch_ms: BatchOption = 10.0,
    replica_lag: LagOption = 10.0,
    wal_rate: WalOption = None,
    dry_run: DryRunOption = False,
    as_json: Json = False,
) -> None:
    """Do a phase of an operation; after a failure or a crash, call the same again and it goes on."""
    wanted = online_operations.build(operation, words or [])
    if dry_run:
        _show_plan(terminal.run(online.plan(database, wanted, schema=schema)), as_json=as_json)
        return
    throttle = online.Throttle(batch_ms, replica_lag, wal_rate * 1e6 if wal_rate else None)
    courtesy = Courtesy(wait, end_after)

    def work(told: Callable[[Note], None]) -> Coroutine[Any, Any, OperationStatus]:
        manners = Manners(courtesy, throttle, told)
        return online.run(database, wanted, schema=schema, phase=phase, manners=manners)

    _watch(work, as_json=as_json)


@app.command("list", epilog="Example:  [bold]cloudlab online list[/]")
def list_(as_json: Json = False) -> None:
    """List the operations and how each is written."""
    found = {
        name: {"usage": online_operations.usage(name), "does": str(kind.__doc__).split("\n", 1)[0]}
        for name, kind in online_operations.OPERATIONS.items()
    }
    if as_json:
        terminal.print_json(found)
        return
    table = Table("operation", "what it does", box=None)
    for one in found.values():
        table.add_row(Text(one["usage"]), Text(one["does"]))
    terminal.out.print(table)


@app.command(epilog="Example:  [bold]cloudlab online status --database URL --schema shop[/]")
def status(database: DatabaseOption, schema: SchemaOption = "public", as_json: Json = False) -> None:
    """Show the online operations of a schema, the newest first; locks nothing."""
    found = terminal.run(online.status(database, schema=schema))
    if as_json:
        terminal.print_json([_as_dict(one) for one in found])
        return
    table = Table("id", "operation", "phase", "state", "steps", "last step", "rows", "rows/s", box=None)
    for one in found:
        arguments = " ".join(f"{key}={value}" for key, value in one.arguments.items() if value)
        steps = f"{one.steps_done}/{len(one.plan)}"
        rows = f"{one.rows_done:,} of {one.rows_total:,}" if one.rows_total else ""
        rate = f"{one.rows_per_second:,.0f}" if one.rows_done else ""
        what = Text(f"{one.operation} {arguments}")
        table.add_row(str(one.operation_id), what, one.phase, one.state, steps, Text(one.step_name), rows, rate)
        if one.error:
            table.add_row("", Text(one.error, "red"))
    terminal.out.print(table)


@app.command(epilog="Example:  [bold]cloudlab online pause 3 --database URL[/]")
def pause(number: NumberArgument, database: DatabaseOption, schema: SchemaOption = "public") -> None:
    """Ask an operation to stop after the batch it is in."""
    terminal.run(online.pause(database, number, schema=schema))
    typer.echo(f"Operation {number} stops after its batch; `cloudlab online resume {number}` goes on.")


@app.command(epilog="Example:  [bold]cloudlab online resume 3 --database URL[/]")
def resume(
    number: NumberArgument, database: DatabaseOption, schema: SchemaOption = "public", as_json: Json = False
) -> None:
    """Go on with an operation that was paused, has failed or whose process died."""
    _go_on(number, database, schema, None, as_json=as_json)


@app.command(epilog="Example:  [bold]cloudlab online contract 3 --database URL[/]  once no old code runs.")
def contract(
    number: NumberArgument, database: DatabaseOption, schema: SchemaOption = "public", as_json: Json = False
) -> None:
    """Finish an expanded operation: what only old code needs is dropped."""
    _go_on(number, database, schema, Phase.CONTRACT, as_json=as_json)


@app.command(epilog="Example:  [bold]cloudlab online rollback 3 --database URL[/]")
def rollback(
    number: NumberArgument, database: DatabaseOption, schema: SchemaOption = "public", as_json: Json = False
) -> None:
    """Take an operation back that has not contracted."""
    _go_on(number, database, schema, Phase.ROLLBACK, as_json=as_json)


def _go_on(number: int, database: str, schema: str, phase: Phase | None, *, as_json: bool) -> None:
    def work(told: Callable[[Note], None]) -> Coroutine[Any, Any, OperationStatus]:
        return online.go_on(database, number, schema=schema, phase=phase, manners=Manners(told=told))

    _watch(work, as_json=as_json)


def _watch(work: Callable[[Callable[[Note], None]], Coroutine[Any, Any, OperationStatus]], *, as_json: bool) -> None:
    """Run it with a bar on standard error, one line for each wait, and say in the end how it stands."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rows]}"), TimeElapsedColumn())
    hidden = as_json or not terminal.err.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=terminal.err, transient=True, disable=hidden) as bar:
        task = bar.add_task("", rows="", total=None)

        def told(note: Note) -> None:
            _advance(bar, task, note)
            if not as_json and ("waits for" in note.text or note.text.startswith(("waiting", "ending"))):
                terminal.err.print(Text(note.text, "yellow"))

        done = terminal.run(work(told))
    if as_json:
        terminal.print_json(_as_dict(done))
        return
    typer.echo(
        f"{done.operation} {done.operation_id} is {done.state} after {done.steps_done} of {len(done.plan)} steps."
    )
    if done.state == "expanded":
        typer.echo(f"Once no old code runs: cloudlab online contract {done.operation_id}", err=True)


def _advance(bar: Progress, task: TaskID, note: Note) -> None:
    rows = f"{note.rows_done:,} of about {note.rows_total:,} rows" if note.rows_done else ""
    done = note.rows_done if note.rows_total else note.number - 1
    total = note.rows_total or note.steps
    bar.update(task, description=f"{note.number}/{note.steps} {note.step}", completed=done, total=total, rows=rows)


def _show_plan(steps: Sequence[Step], *, as_json: bool) -> None:
    if as_json:
        plan = [{"phase": one.phase, "step": one.name, "lock": one.lock, "sql": one.sql} for one in steps]
        terminal.print_json(plan)
        return
    for number, step in enumerate(steps, 1):
        lines = "".join(f"\n{statement.strip()};" for statement in step.sql)
        text = f"-- {number}. {step.phase}: {step.name}\n-- lock: {step.lock}{lines}\n"
        terminal.out.print(Syntax(text, "sql", background_color="default", word_wrap=True))
    typer.echo(f"{len(steps)} steps would run; nothing was changed.", err=True)


def _as_dict(one: OperationStatus) -> dict[str, object]:
    return {
        "operation_id": one.operation_id,
        "operation": one.operation,
        "arguments": one.arguments,
        "phase": one.phase,
        "state": one.state,
        "steps_done": one.steps_done,
        "steps": [str(step["name"]) for step in one.plan],
        "rows_done": one.rows_done,
        "rows_total": one.rows_total,
        "rows_per_second": one.rows_per_second,
        "lag_seconds": one.lag_seconds,
        "error": one.error,
        "started_at": one.started_at,
        "finished_at": one.finished_at,
    }
