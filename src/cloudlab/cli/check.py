"""`cloudlab check` and `cloudlab rules`: hold any PostgreSQL database, migrations and queries to the standards.

Standard: §11 Best Practices
"""

from pathlib import Path
from typing import Annotated

import typer

from cloudlab.cli import quick, terminal
from cloudlab.cli.terminal import Json
from cloudlab.standards import report, rules
from cloudlab.standards.order import Order
from cloudlab.standards.rule import Level, Rule

app = typer.Typer(
    name="cloudlab", no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


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
    fix: Annotated[
        str | None,
        typer.Option("--fix", metavar="DIR", help="Write a migration for what needs no decision; '-' prints it."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Look at all again, whatever was found before.")] = False,
    as_json: Json = False,
) -> None:
    """Report every breach of the standards, with its place and its remedy.

    A database is read in a read-only session. Migrations are folded into a model of the schema, in the order in which
    they would run, so each statement is judged against the schema it meets. Choices of the project stand in
    cloudlab.toml under [check] or in pyproject.toml under [tool.cloudlab.check]. Exits with 1 when there are errors.
    """
    order = Order(
        targets=tuple(where),
        style="json" if as_json else output,
        select=tuple(select or ()),
        ignore=tuple(ignore or ()),
        fail_on=str(fail_on),
        baseline=str(known or ""),
        write_baseline=write_baseline,
        since=since or "",
        stdin_name=stdin_name,
        explain=explain or "",
        fix=fix or "",
        use_cache=not no_cache,
    )
    result = quick.result_of(order)
    typer.echo(result.text)
    if result.failed:
        raise typer.Exit(terminal.CHECK_FAILED)


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
