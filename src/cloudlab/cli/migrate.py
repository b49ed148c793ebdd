"""`cloudlab migrate`: bring every database of the installation to the schema this version needs.

Standard: §6.1 Versioned Migrations
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from cloudlab import config as configuration
from cloudlab.cli import terminal
from cloudlab.cli.terminal import Json
from cloudlab.config import Config
from cloudlab.schema import targets
from cloudlab.schema.history import State
from cloudlab.schema.runner import Applied, Direction
from cloudlab.schema.targets import Report, Target, TargetResult, TargetStatus

app = typer.Typer(
    help="Apply, take back and check the schema migrations of every database.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

TargetOption = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        metavar="PLACE",
        help="control, shard, shard:NAME, tenant, tenant:NAME/SCHEMA or clickhouse; everything by default.",
        show_default=False,
    ),
]
ToOption = Annotated[
    int | None,
    typer.Option("--to", min=1, metavar="VERSION", help="Stop at this version; needs --target.", show_default=False),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Change nothing; print the SQL that would run.")]


@app.command(
    epilog="Examples:  [bold]cloudlab migrate up[/]  ·  [bold]cloudlab migrate up --dry-run[/]  ·  "
    "[bold]cloudlab migrate up --target shard:us_east_001 --to 3[/]"
)
def up(
    target: TargetOption = None,
    to: ToOption = None,
    dry_run: DryRunOption = False,
    as_json: Json = False,
) -> None:
    """Apply what is pending: the control database, the shards, the tenants, ClickHouse.

    Run it again after a failure: it continues where it stopped.
    """

    async def act(loaded: Config, dry: bool, report: Report | None) -> list[TargetResult]:
        return await targets.migrate_all(loaded, only=target, to=to, dry_run=dry, progress=report)

    _migrate(act, dry_run=dry_run, as_json=as_json)


@app.command(
    epilog="Examples:  [bold]cloudlab migrate down --target tenant[/]  ·  "
    "[bold]cloudlab migrate down --target shard:us_east_001 --to 3 --dry-run[/]"
)
def down(
    target: Annotated[
        str, typer.Option("--target", "-t", metavar="PLACE", help="control, shard, tenant, clickhouse, or one of them.")
    ],
    steps: Annotated[int, typer.Option("--steps", min=1, help="How many to take back in each place.")] = 1,
    to: Annotated[
        int | None,
        typer.Option("--to", min=0, metavar="VERSION", help="Take back all after this; 0: all.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: the data in what is dropped is lost.")] = False,
    dry_run: DryRunOption = False,
    as_json: Json = False,
) -> None:
    """Take back the newest migrations of one tree, with the data in them."""

    async def act(loaded: Config, dry: bool, report: Report | None) -> list[TargetResult]:
        return await targets.revert(loaded, only=target, steps=steps, to=to, dry_run=dry, progress=report)

    if not (yes or dry_run):
        typer.confirm(f"Take back migrations of {target}? The data in what they drop is lost.", abort=True, err=True)
    _migrate(act, dry_run=dry_run, as_json=as_json)


@app.command(epilog="Examples:  [bold]cloudlab migrate status[/]  ·  [bold]cloudlab migrate status --json -t tenant[/]")
def status(target: TargetOption = None, as_json: Json = False) -> None:
    """Show how every migration stands in every place; changes and locks nothing."""
    places = terminal.run(targets.status_all(configuration.load(), only=target))
    if as_json:
        terminal.print_json([_status_dict(place) for place in places])
    else:
        terminal.out.print(_status_table(places))


@app.command(
    epilog="Example:  [bold]cloudlab migrate verify[/]  exits with 0 only if every place holds exactly our files."
)
def verify(target: TargetOption = None, as_json: Json = False) -> None:
    """Fail unless every place holds exactly the migrations of this version, unchanged and complete."""
    places = terminal.run(targets.status_all(configuration.load(), only=target))
    problems = [
        {"target": place.target.name, "version": one.version, "state": one.state, "problem": one.problem}
        for place in places
        for one in place.migrations
        if one.state is not State.APPLIED
    ]
    if as_json:
        terminal.print_json({"ok": not problems, "problems": problems})
    elif problems:
        for one in problems:
            typer.echo(f"{one['target']}: {one['problem'] or one['version'] + ' is ' + one['state']}", err=True)
    else:
        count = sum(len(place.migrations) for place in places)
        typer.echo(f"{len(places)} places hold all their {count} migrations, unchanged.")
    if problems:
        raise typer.Exit(terminal.CHECK_FAILED)


Act = Callable[[Config, bool, Report | None], Awaitable[list[TargetResult]]]


def _migrate(act: Act, *, dry_run: bool, as_json: bool) -> None:
    """Plan, then do it behind a progress bar; a dry run ends with the plan."""

    async def work() -> list[TargetResult]:
        loaded = configuration.load()
        plan = await act(loaded, True, None)
        if dry_run or not any(place.applied for place in plan):
            return plan
        with _bar(as_json) as bar:
            task = bar.add_task("", total=sum(len(place.applied) for place in plan))

            def report(target: Target, applied: Applied) -> None:
                bar.update(task, advance=1, description=f"{target.name} {applied.version}")

            return await act(loaded, False, report)

    results = terminal.run(work())
    if as_json:
        terminal.print_json({"dry_run": dry_run, "targets": [_result_dict(one, dry_run) for one in results]})
    elif dry_run:
        _print_sql(results)
    else:
        _print_summary(results)


def _bar(as_json: bool) -> Progress:
    """Return a bar on standard error; it shows nothing where that is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=terminal.err, transient=True, disable=as_json or not terminal.err.is_terminal)


def _print_sql(results: Sequence[TargetResult]) -> None:
    for result in results:
        for applied in result.applied:
            title = f"-- {result.target.name} {applied.version} {applied.direction}: {applied.title}"
            terminal.out.print(Syntax(f"{title}\n{applied.sql}\n", "sql", background_color="default", word_wrap=True))
    count = sum(len(result.applied) for result in results)
    typer.echo(f"{count} migrations would run; nothing was changed.", err=True)


def _print_summary(results: Sequence[TargetResult]) -> None:
    table = Table("place", "migrations", "versions", "seconds", box=None)
    for result in results:
        versions = [applied.version for applied in result.applied]
        span = f"{versions[0]} … {versions[-1]}" if len(versions) > 1 else "".join(versions)
        verb = "taken back" if any(one.direction is Direction.DOWN for one in result.applied) else "applied"
        seconds = sum(applied.seconds or 0 for applied in result.applied)
        done = f"{len(versions)} {verb}" if versions else "up to date"
        table.add_row(Text(result.target.name), done, span, f"{seconds:.2f}" if versions else "")
    terminal.out.print(table)


def _status_table(places: Sequence[TargetStatus]) -> Table:
    table = Table("place", "version", "title", "state", "applied at (UTC)", box=None)
    for place in places:
        for one in place.migrations:
            style = {State.APPLIED: "green", State.PENDING: "yellow"}.get(one.state, "red")
            when = f"{one.applied_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if one.applied_at else ""
            table.add_row(Text(place.target.name), one.version, Text(one.title), Text(one.state, style), when)
            if one.problem:
                table.add_row("", "", Text(one.problem, "red"))
    return table


def _status_dict(place: TargetStatus) -> dict[str, object]:
    return {
        "target": place.target.name,
        "migrations": [
            {
                "version": one.version,
                "title": one.title,
                "state": one.state,
                "applied_at": one.applied_at.astimezone(UTC).isoformat() if one.applied_at else None,
                "problem": one.problem,
            }
            for one in place.migrations
        ],
    }


def _result_dict(result: TargetResult, dry_run: bool) -> dict[str, object]:
    return {
        "target": result.target.name,
        "migrations": [
            {"version": one.version, "title": one.title, "direction": one.direction, "seconds": one.seconds}
            | ({"sql": one.sql} if dry_run else {})
            for one in result.applied
        ],
    }
