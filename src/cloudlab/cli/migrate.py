"""`cloudlab migrate`: bring every database of the installation, or any PostgreSQL database, to the schema of its files.

Standard: §6.1 Versioned Migrations
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cloudlab import config as configuration
from cloudlab.cli import guarding, migrating, terminal
from cloudlab.cli.guarding import Judged
from cloudlab.cli.terminal import Json
from cloudlab.errors import InvalidInput
from cloudlab.schema import fanout, files, targets
from cloudlab.schema.history import State
from cloudlab.schema.places import Target, find_targets, folder_targets
from cloudlab.schema.postgres import Reasons
from cloudlab.schema.runner import Applied
from cloudlab.schema.targets import Report, TargetResult

app = typer.Typer(
    help="Apply, take back and check the schema migrations of every database, or of any folder on any PostgreSQL.",
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
DirOption = Annotated[
    Path | None,
    typer.Option("--dir", "-d", metavar="FOLDER", help="Migrations of your own; needs --database.", show_default=False),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        envvar="DATABASE_URL",
        help="Any PostgreSQL 15+, straight to the server; with --dir.",
        show_default=False,
        show_envvar=True,
    ),
]
SchemaOption = Annotated[
    list[str] | None,
    typer.Option(
        "--schema",
        metavar="NAME",
        help="With --dir: where, public by default; may be repeated, and 'tenant_*' is every schema that fits.",
        show_default=False,
    ),
]
ToOption = Annotated[
    int | None,
    typer.Option("--to", min=1, metavar="VERSION", help="Stop at this version; of one tree.", show_default=False),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Change nothing; print the SQL that would run, with locks and estimates.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: the data in what is dropped is lost.")]
UnsafeOption = Annotated[
    str | None,
    typer.Option("--unsafe", metavar="REASON", help="Run what the check refuses; the reason is recorded."),
]
BriefOption = Annotated[
    int, typer.Option("--brief", min=0, metavar="MS", help="Do not refuse what is estimated to take less.")
]

Where = Callable[[], Awaitable[list[Target]]]


def where(target: str | None, folder: Path | None, database: str | None, schemas: list[str] | None) -> Where:
    """Return what finds the places that the options name."""
    if folder is None:
        if schemas:
            raise InvalidInput("--schema goes with --dir", hint="Name a place of the installation with --target.")
        return lambda: find_targets(configuration.load(), target)
    if target:
        raise InvalidInput("--target names places of the installation, --dir files of your own", hint="Give one.")
    if not database:
        raise InvalidInput(f"which database gets {folder}?", hint="Give --database or set DATABASE_URL.")
    return lambda: folder_targets(folder, database, schemas or ())


@app.command(
    epilog="Examples:  [bold]cloudlab migrate up[/]  ·  [bold]cloudlab migrate up --dry-run[/]  ·  "
    "[bold]cloudlab migrate up --target shard:us_east_001 --to 3[/]  ·  "
    "[bold]cloudlab migrate up --dir migrations --database postgresql://me@db/app --schema 'tenant_*'[/]"
)
def up(
    target: TargetOption = None,
    folder: DirOption = None,
    database: DatabaseOption = None,
    schema: SchemaOption = None,
    to: ToOption = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="After a place has failed, go on with the others.")
    ] = False,
    connections: Annotated[
        int, typer.Option("--connections", min=1, max=64, help="Schemas of one database migrated at once.")
    ] = fanout.CONNECTIONS,
    unsafe: UnsafeOption = None,
    brief: BriefOption = 0,
    dry_run: DryRunOption = False,
    as_json: Json = False,
) -> None:
    """Apply what is pending: the control database, the shards, the tenants, ClickHouse; or the files of a folder.

    What would lock a table with rows for the time of a scan or a rewrite is refused, and the online operation named
    that does it safely. Of many schemas the first goes alone. After a failure it continues where it stopped.
    """

    async def act(places: list[Target], dry: bool, report: Report | None, reasons: Reasons) -> list[TargetResult]:
        return await targets.migrate_all(
            places, to=to, dry_run=dry, keep_going=keep_going, connections=connections, progress=report, reasons=reasons
        )

    guard = Guard(unsafe, brief)
    _migrate(where(target, folder, database, schema), act, guard, dry_run=dry_run, as_json=as_json)


@app.command(
    epilog="Examples:  [bold]cloudlab migrate down --target tenant[/]  ·  "
    "[bold]cloudlab migrate down --target shard:us_east_001 --to 3 --dry-run[/]  ·  "
    "[bold]cloudlab migrate down --dir migrations --database postgresql://me@db/app[/]"
)
def down(
    target: TargetOption = None,
    folder: DirOption = None,
    database: DatabaseOption = None,
    schema: SchemaOption = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="How many to take back in each place.")] = 1,
    to: Annotated[
        int | None,
        typer.Option("--to", min=0, metavar="VERSION", help="Take back all after this; 0: all.", show_default=False),
    ] = None,
    unsafe: UnsafeOption = None,
    brief: BriefOption = 0,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: Json = False,
) -> None:
    """Take back the newest migrations of one tree or folder, with the data in them.

    What is lost is named before, and asked about unless --yes or a reason is given. What would make others wait is
    refused as by `up`; its reason goes to the server's log.
    """

    async def act(places: list[Target], dry: bool, report: Report | None, reasons: Reasons) -> list[TargetResult]:
        return await targets.revert(places, steps=steps, to=to, dry_run=dry, progress=report, reasons=reasons)

    _named(target, folder)
    question = "" if yes else f"Take back migrations of {target or folder}?"
    _migrate(
        where(target, folder, database, schema), act, Guard(unsafe, brief, question), dry_run=dry_run, as_json=as_json
    )


@app.command(
    epilog="Example:  [bold]cloudlab migrate redo --dir migrations --database postgresql://me@db/app --yes[/]  "
    "while a migration is being written."
)
def redo(
    target: TargetOption = None,
    folder: DirOption = None,
    database: DatabaseOption = None,
    schema: SchemaOption = None,
    unsafe: UnsafeOption = None,
    brief: BriefOption = 0,
    yes: YesOption = False,
    dry_run: DryRunOption = False,
    as_json: Json = False,
) -> None:
    """Take the newest migration back and apply it again; the data in it is lost. Judged as by `down` and `up`."""

    async def act(places: list[Target], dry: bool, report: Report | None, reasons: Reasons) -> list[TargetResult]:
        return await targets.redo(places, dry_run=dry, progress=report, reasons=reasons)

    _named(target, folder)
    question = "" if yes else f"Take back the newest migration of {target or folder} and apply it again?"
    _migrate(
        where(target, folder, database, schema), act, Guard(unsafe, brief, question), dry_run=dry_run, as_json=as_json
    )


def _named(target: str | None, folder: Path | None) -> None:
    if not target and not folder:
        raise InvalidInput("of which places?", hint="Give --target, or --dir and --database.")


def _confirm(question: str, lost: Sequence[str]) -> None:
    """Ask, with what would be destroyed above the question; what holds no rows is no loss."""
    for line in lost:
        typer.echo(f"lost: {line}", err=True)
    typer.confirm(f"{question} {'This' if lost else 'The data in what they drop'} is lost.", abort=True, err=True)


@app.command(
    epilog="Examples:  [bold]cloudlab migrate status[/]  ·  [bold]cloudlab migrate status --json -t tenant[/]  ·  "
    "[bold]cloudlab migrate status --dir migrations --database postgresql://me@db/app[/]"
)
def status(
    target: TargetOption = None,
    folder: DirOption = None,
    database: DatabaseOption = None,
    schema: SchemaOption = None,
    as_json: Json = False,
) -> None:
    """Show how every migration stands in every place; changes and locks nothing."""

    async def work() -> list[targets.TargetStatus]:
        return await targets.status_all(await where(target, folder, database, schema)())

    places = terminal.run(work())
    if as_json:
        terminal.print_json([migrating.status_dict(place) for place in places])
    else:
        terminal.out.print(migrating.status_table(places))


@app.command(
    epilog="Examples:  [bold]cloudlab migrate plan[/]  ·  "
    "[bold]cloudlab migrate plan --dir migrations --database postgresql://me@db/app --schema 'tenant_*'[/]"
)
def plan(
    target: TargetOption = None,
    folder: DirOption = None,
    database: DatabaseOption = None,
    schema: SchemaOption = None,
    as_json: Json = False,
) -> None:
    """List what `up` would apply, and where; `up --dry-run` prints the SQL."""

    async def work() -> list[TargetResult]:
        return await targets.migrate_all(await where(target, folder, database, schema)(), dry_run=True, keep_going=True)

    results = terminal.run(work())
    if as_json:
        _show(results, dry_run=True, as_json=True)
    else:
        terminal.out.print(migrating.plan_table(results))
    if any(result.error for result in results):
        raise typer.Exit(terminal.CHECK_FAILED)


@app.command(
    epilog="Example:  [bold]cloudlab migrate verify[/]  exits with 0 only if every place holds exactly our files."
)
def verify(
    target: TargetOption = None,
    folder: DirOption = None,
    database: DatabaseOption = None,
    schema: SchemaOption = None,
    as_json: Json = False,
) -> None:
    """Fail unless every place holds exactly these migrations, unchanged and complete."""

    async def work() -> list[targets.TargetStatus]:
        return await targets.status_all(await where(target, folder, database, schema)())

    places = terminal.run(work())
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


@app.command(
    epilog="Example:  [bold]cloudlab migrate baseline --to 12 --dir migrations --database postgresql://me@db/app[/]  "
    "takes over from Alembic, Flyway, dbmate, Rails or golang-migrate."
)
def baseline(
    to: Annotated[int, typer.Option("--to", min=1, metavar="VERSION", help="The last version the database holds.")],
    folder: Annotated[Path, typer.Option("--dir", "-d", metavar="FOLDER", help="The migrations.")],
    database: DatabaseOption = None,
    schema: SchemaOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what would be noted.")] = False,
    as_json: Json = False,
) -> None:
    """Note migrations up to a version as applied, and run none: for a database that another tool has migrated.

    A `schema_migrations` of that tool is kept under the name `schema_migrations_before_cloudlab`.
    """

    async def work() -> list[tuple[Target, targets.Adopted]]:
        places = await where(None, folder, database, schema)()
        return await targets.baseline(places, to=to, dry_run=dry_run)

    adopted = terminal.run(work())
    if as_json:
        done = [
            {"target": place.name, "versions": one.versions, "tool": one.tool, "tool_version": one.tool_version}
            for place, one in adopted
        ]
        terminal.print_json({"dry_run": dry_run, "targets": done})
        return
    table = Table("place", "noted as applied", "migrated before by", "its version", box=None)
    for place, one in adopted:
        table.add_row(Text(place.name), str(len(one.versions)), one.tool or "nobody we know", one.tool_version)
    terminal.out.print(table)


@app.command(epilog="Example:  [bold]cloudlab migrate new 'add a price to items' --dir migrations[/]")
def new(
    title: Annotated[str, typer.Argument(help="What it does; the name of the file is made of it.", show_default=False)],
    folder: Annotated[Path, typer.Option("--dir", "-d", metavar="FOLDER", help="Where; made when it is missing.")],
    author: Annotated[str, typer.Option("--author", envvar="USER", help="Who writes it.")] = "unknown",
    standard: Annotated[str, typer.Option("--standard", help="What it follows.")] = "§6.1 Versioned Migrations",
) -> None:
    """Begin a migration: a file with the next number, its header, and a way up and down to be filled in."""
    today: date = datetime.now(UTC).date()
    path = files.begin(folder, title, author=author, on=today, standard=standard)
    typer.echo(str(path))


@dataclass(frozen=True, slots=True)
class Guard:
    """What is let through: everything for a reason, or what is over in so many milliseconds.

    `question` is asked before anything is destroyed, unless there is a reason; empty: nothing is asked.
    """

    unsafe: str | None
    brief_ms: int
    question: str = ""


Act = Callable[[list[Target], bool, Report | None, Reasons], Awaitable[list[TargetResult]]]


def _migrate(places_of: Where, act: Act, guard: Guard, *, dry_run: bool, as_json: bool) -> None:
    """Plan, judge the plan, then do it behind a progress bar; a dry run ends with the plan."""

    async def work() -> tuple[list[TargetResult], list[Judged]]:
        places = await places_of()
        plan = await act(places, True, None, {})
        if not any(place.applied for place in plan):
            return plan, []
        judged = await guarding.judge(plan, guard.brief_ms)
        if dry_run:
            return plan, judged
        reasons = guarding.allowed(judged, guard.unsafe)
        if guard.question and guard.unsafe is None:
            _confirm(guard.question, guarding.lost(judged))
        with migrating.bar(as_json) as bar:
            task = bar.add_task("", total=sum(len(place.applied) for place in plan))

            def report(target: Target, applied: Applied) -> None:
                bar.update(task, advance=1, description=f"{target.name} {applied.version}")

            return await act(places, False, report, reasons), judged

    _show(*terminal.run(work()), dry_run=dry_run, as_json=as_json)


def _show(results: list[TargetResult], judged: Sequence[Judged] = (), *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        shown = [migrating.result_dict(one, dry_run) for one in results]
        judgement = {"judged": guarding.as_dicts(judged)} if dry_run else {}
        terminal.print_json({"dry_run": dry_run, "targets": shown} | judgement)
    elif dry_run:
        migrating.print_sql(results, judged)
    else:
        migrating.print_summary(results)
    if any(result.error for result in results):
        raise typer.Exit(terminal.CHECK_FAILED)
