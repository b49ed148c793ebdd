"""`cloudlab check` and `cloudlab rules`: hold any PostgreSQL database, migrations and queries to the standards.

Standard: §11 Best Practices
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from cloudlab.cli import terminal
from cloudlab.cli.terminal import Json
from cloudlab.errors import InvalidInput, NotFound
from cloudlab.standards import checking, reading, report, rules, targets
from cloudlab.standards.rule import Finding, Level, Rule

_FAILS = {Level.ERROR: {Level.ERROR}, Level.WARNING: {Level.ERROR, Level.WARNING}, Level.NOTE: set(Level)}


def check(
    where: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET…",
            help="postgresql:// URLs, files or folders of SQL, files or folders of Python; '-' is standard input.",
            show_default=False,
        ),
    ],
    output: Annotated[str, typer.Option("--format", "-f", help=f"One of {', '.join(report.FORMATS)}.")] = "text",
    select: Annotated[
        list[str] | None, typer.Option("--select", metavar="ID", help="Only these rules, or families: NM.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="ID", help="Not these rules, or families.")
    ] = None,
    fail_on: Annotated[Level, typer.Option("--fail-on", help="Exit with 1 from this level on.")] = Level.ERROR,
    as_json: Json = False,
) -> None:
    """Report every breach of the standards, with its place and its remedy.

    A database is read in a read-only session. Migrations are folded into a model of the schema, in the order in which
    they would run, so each statement is judged against the schema it meets. Exits with 1 when there are errors.
    """
    style = "json" if as_json else output
    if style not in report.FORMATS:
        raise InvalidInput(f"{style!r} is no format", hint=f"Choose one of {', '.join(report.FORMATS)}.")
    findings = terminal.run(_findings(where, _chosen(select or (), ignore or ())))
    typer.echo(report.FORMATS[style](findings))
    if any(finding.level in _FAILS[fail_on] for finding in findings):
        raise typer.Exit(terminal.CHECK_FAILED)


async def _findings(where: Sequence[str], chosen: Sequence[Rule]) -> list[Finding]:
    found: list[Finding] = []
    catalog = None
    for url in (one for one in where if targets.is_database(one)):
        catalog, server = await reading.read(url)
        found += checking.of_schema(catalog, chosen)
        found += checking.of_server(server, chosen)
    paths = [one for one in where if not targets.is_database(one)]
    if paths:
        found += checking.of_files(targets.read(paths, sys.stdin), catalog, chosen)
    return checking.by_place(found)


def _chosen(select: Sequence[str], ignore: Sequence[str]) -> list[Rule]:
    """Return the rules that are wanted.

    Raises:
        NotFound: Nothing fits one of the names.
    """
    every = rules.every()
    for name in (*select, *ignore):
        if not any(rule.id.startswith(name.upper()) for rule in every):
            raise NotFound(f"there is no rule {name}", hint="`cloudlab rules` lists them.")
    wanted = tuple(name.upper() for name in select) or ("",)
    unwanted = tuple(name.upper() for name in ignore)
    return [rule for rule in every if rule.id.startswith(wanted) and not (unwanted and rule.id.startswith(unwanted))]


def show_rules(
    rule_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Explain this one.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List the rules, or explain one: what it asks for, why, how a breach is mended, examples."""
    chosen = [rules.named(rule_id)] if rule_id else list(rules.every())
    if as_json:
        terminal.print_json([_as_dict(rule) for rule in chosen])
    elif rule_id:
        terminal.out.print(Markdown(page(chosen[0])))
    else:
        table = Table("id", "level", "standard", "what must hold", box=None)
        for rule in chosen:
            table.add_row(rule.id, str(rule.level), Text(rule.heading), Text(rule.title))
        terminal.out.print(table)


def _as_dict(rule: Rule) -> dict[str, object]:
    return {
        "id": rule.id,
        "title": rule.title,
        "standard": rule.heading,
        "level": str(rule.level),
        "why": rule.why,
        "remedy": rule.remedy,
        "bad": list(rule.bad),
        "good": list(rule.good),
    }


def page(rule: Rule) -> str:
    """Return the page of a rule in Markdown."""
    parts = [f"# {rule.id} {rule.title}", f"Level: {rule.level}. Standard: {rule.heading}", rule.why, rule.remedy]
    for head, examples in (("Reported", rule.bad), ("Left alone", rule.good)):
        if examples:
            parts.append(f"## {head}")
            parts += [f"```sql\n{example}\n```" for example in examples]
    return "\n\n".join(parts) + "\n"
