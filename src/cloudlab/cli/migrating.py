"""How `cloudlab migrate` shows what it did: tables and bars for people, dictionaries for machines.

Standard: §6.1 Migration Tracking
"""

from collections.abc import Sequence
from datetime import UTC

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from cloudlab.cli import guarding, terminal
from cloudlab.cli.guarding import Judged
from cloudlab.schema.history import State
from cloudlab.schema.runner import Applied, Direction
from cloudlab.schema.targets import TargetResult, TargetStatus


def bar(as_json: bool) -> Progress:
    """Return a bar on standard error; it shows nothing where that is no terminal."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, console=terminal.err, transient=True, disable=as_json or not terminal.err.is_terminal)


def print_sql(results: Sequence[TargetResult], judged: Sequence[Judged]) -> None:
    """Print the SQL of a dry run, highlighted: what places lack alike once, with what each statement locks."""
    shown = {id(result) for group in judged if group.verdicts for result in group.results}
    for group in judged if shown else ():
        for applied in group.results[0].applied if group.verdicts else ():
            _print_one(group.where, applied, guarding.commented(group, applied))
    for result in results:
        for applied in result.applied if id(result) not in shown else ():
            _print_one(result.target.name, applied, applied.sql)
    count = sum(len(result.applied) for result in results)
    typer.echo(f"{count} migrations would run; nothing was changed.", err=True)
    dangers = sum(bool(one.dangers) for group in judged for one in group.verdicts)
    if dangers:
        typer.echo(f"{dangers} statements would be refused: see `-- safely`, or give --unsafe REASON.", err=True)


def _print_one(where: str, applied: Applied, text: str) -> None:
    title = f"-- {where} {applied.version} {applied.direction}: {applied.title}"
    terminal.out.print(Syntax(f"{title}\n{text}\n", "sql", background_color="default", word_wrap=True))


def print_summary(results: Sequence[TargetResult]) -> None:
    """Print what was done in each place."""
    table = Table("place", "migrations", "versions", "seconds", box=None)
    for result in results:
        versions = [applied.version for applied in result.applied]
        span = f"{versions[0]} … {versions[-1]}" if len(versions) > 1 else "".join(versions)
        verb = "taken back" if any(one.direction is Direction.DOWN for one in result.applied) else "applied"
        seconds = sum(applied.seconds or 0 for applied in result.applied)
        done = f"{len(versions)} {verb}" if versions else "up to date"
        if result.error:
            done = Text("failed", "red")
        table.add_row(Text(result.target.name), done, span, f"{seconds:.2f}" if versions else "")
    terminal.out.print(table)
    for result in results:
        if result.error:
            terminal.report(result.error, as_json=False)


def plan_table(results: Sequence[TargetResult]) -> Table:
    """Return what would run, places that lack the same in one row."""
    table = Table("places", "version", "title", box=None)
    alike: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for result in results:
        if result.error:
            table.add_row(Text(result.target.name), "", Text(result.error.message, "red"))
        elif result.applied:
            lacking = tuple((applied.version, applied.title) for applied in result.applied)
            alike.setdefault(lacking, []).append(result.target.name)
    for lacking, names in alike.items():
        where = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        for number, (version, title) in enumerate(lacking):
            table.add_row(Text("" if number else where), version, Text(title))
    if not table.rows:
        table.add_row("", "", "nothing is pending")
    return table


def status_table(places: Sequence[TargetStatus]) -> Table:
    """Return how every migration of every place stands."""
    table = Table("place", "version", "title", "state", "applied at (UTC)", box=None)
    for place in places:
        for one in place.migrations:
            style = {State.APPLIED: "green", State.PENDING: "yellow"}.get(one.state, "red")
            when = f"{one.applied_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if one.applied_at else ""
            table.add_row(Text(place.target.name), one.version, Text(one.title), Text(one.state, style), when)
            if one.problem:
                table.add_row("", "", Text(one.problem, "red"))
    return table


def status_dict(place: TargetStatus) -> dict[str, object]:
    """Return the same for a machine."""
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


def result_dict(result: TargetResult, dry_run: bool) -> dict[str, object]:
    """Return what was done in one place, with its SQL when nothing was done yet."""
    return {
        "target": result.target.name,
        "error": result.error.as_dict() if result.error else None,
        "migrations": [
            {"version": one.version, "title": one.title, "direction": one.direction, "seconds": one.seconds}
            | ({"sql": one.sql} if dry_run else {})
            for one in result.applied
        ],
    }
