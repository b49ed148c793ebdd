"""`cloudlab check` and `cloudlab rules`: hold any PostgreSQL database, migrations and queries to the standards.

Standard: §11 Best Practices
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cloudlab.cli import terminal
from cloudlab.cli.terminal import Json
from cloudlab.errors import InvalidInput
from cloudlab.standards import (
    baseline,
    changed,
    checking,
    choices,
    explaining,
    poolers,
    report,
    rules,
    suppressing,
    targets,
)
from cloudlab.standards.catalog import Catalog
from cloudlab.standards.choices import Choices
from cloudlab.standards.rule import Finding, Level, Rule, Server
from cloudlab.standards.scripts import Script

app = typer.Typer(
    name="cloudlab", no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
_FAILS = {Level.ERROR: {Level.ERROR}, Level.WARNING: {Level.ERROR, Level.WARNING}, Level.NOTE: set(Level)}


def check(
    where: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET…",
            help="postgresql:// URLs, files or folders of SQL, of Python, of PgBouncer; '-' is standard input.",
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
    known: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="Report only what this file does not know.")
    ] = None,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Write all findings to the baseline, and report none.")
    ] = False,
    since: Annotated[
        str | None, typer.Option("--since", metavar="COMMIT", help="Report only files that changed since this commit.")
    ] = None,
    stdin_name: Annotated[str, typer.Option("--stdin-name", help="What standard input is called.")] = "<stdin>",
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="ID", help="Show what this rule looked at and decided.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Report every breach of the standards, with its place and its remedy.

    A database is read in a read-only session. Migrations are folded into a model of the schema, in the order in which
    they would run, so each statement is judged against the schema it meets. Choices of the project stand in
    cloudlab.toml under [check] or in pyproject.toml under [tool.cloudlab.check]. Exits with 1 when there are errors.
    """
    style = "json" if as_json else output
    if style not in report.FORMATS:
        raise InvalidInput(f"{style!r} is no format", hint=f"Choose one of {', '.join(report.FORMATS)}.")
    if write_baseline and known is None:
        raise InvalidInput("--write-baseline needs --baseline FILE", hint="It says which file to write.")
    if explain:
        _explain(where, rules.named(explain), stdin_name)
        return
    chosen = _chosen(choices.load(Path.cwd()), select or (), ignore or ())
    findings = _of_project(where, chosen, stdin_name)
    if write_baseline and known:
        known.write_text(baseline.written(findings), encoding="utf-8")
        terminal.err.print(f"{len(findings)} findings written to {known}", highlight=False)
        return
    if known:
        findings = baseline.unknown(findings, baseline.read(known))
    if since:
        findings = changed.only(findings, changed.files(since, Path.cwd()))
    typer.echo(report.FORMATS[style](findings))
    if any(finding.level in _FAILS[fail_on] for finding in findings):
        raise typer.Exit(terminal.CHECK_FAILED)


def _of_project(where: Sequence[str], chosen: Choices, stdin_name: str) -> Sequence[Finding]:
    """Return the findings that neither a comment nor the choices of the project leave out."""
    scripts = _scripts(where, stdin_name)
    asked = chosen.rules()
    findings = terminal.run(_findings(where, scripts, asked))
    left = suppressing.applied(findings, scripts, {rule.id for rule in asked}, datetime.now(UTC).date())
    return checking.by_place(chosen.applied(left))


async def _findings(where: Sequence[str], scripts: Sequence[Script], asked: Sequence[Rule]) -> list[Finding]:
    found: list[Finding] = []
    catalog = None
    for url in (one for one in where if targets.is_database(one)):
        catalog, server = await _read(url)
        found += checking.of_schema(catalog, asked)
        found += checking.of_server(server, asked)
    if scripts:
        found += checking.of_files(scripts, catalog, asked)
    for pooler in poolers.read_poolers([Path(one) for one in where if not targets.is_database(one) and one != "-"]):
        found += checking.of_pooler(pooler, asked)
    return found


async def _read(url: str) -> tuple[Catalog, Server]:
    from cloudlab.standards import reading  # noqa: PLC0415  a file is checked without a driver of databases

    return await reading.read(url)


def _scripts(where: Sequence[str], stdin_name: str) -> list[Script]:
    return targets.read([one for one in where if not targets.is_database(one)], sys.stdin, stdin_name)


def _explain(where: Sequence[str], rule: Rule, stdin_name: str) -> None:
    """Show what a rule looked at."""

    async def catalogs() -> Catalog | None:
        urls = [one for one in where if targets.is_database(one)]
        return (await _read(urls[-1]))[0] if urls else None

    terminal.out.print(f"{rule.id} {rule.title}", markup=False, highlight=False)
    for line in explaining.explain(rule, _scripts(where, stdin_name), terminal.run(catalogs())):
        terminal.out.print(line, markup=False, highlight=False, soft_wrap=True)


def _chosen(project: Choices, select: Sequence[str], ignore: Sequence[str]) -> Choices:
    """Return the choices of the project with those of the command line, which go further."""
    return replace(project, select=tuple(select) or project.select, ignore=(*project.ignore, *ignore))


def show_rules(
    rule_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="Explain this one.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List the rules, or explain one: what it asks for, why, how a breach is mended, examples."""
    from rich.markdown import Markdown  # noqa: PLC0415  a check shows neither, and they take long to load
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

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


def register(other: typer.Typer) -> None:
    """Add the commands of the checker to a command line."""
    other.command(
        epilog="Examples:  cloudlab check postgresql://me@db.example/app  ·  cloudlab check migrations/  ·  "
        "cloudlab check src/ --format github"
    )(check)
    other.command("rules", epilog="Examples:  cloudlab rules  ·  cloudlab rules LK05")(show_rules)


register(app)
