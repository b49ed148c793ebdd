"""`cloudlab shard query`: the same question to every shard, and what was not answered said loudly.

Standard: §7.2 Tenant-Based Sharding
"""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from cloudlab import config as configuration
from cloudlab.cli import terminal
from cloudlab.cli.terminal import Json
from cloudlab.tenancy import across
from cloudlab.tenancy.across import Answer


def query(
    question: Annotated[str, typer.Argument(help="One SQL query; unqualified names mean the tables of each place.")],
    shard: Annotated[
        list[str] | None,
        typer.Option("--shard", metavar="NAME", help="Only these.", show_default=False),
    ] = None,
    own_schemas: Annotated[
        bool, typer.Option("--own-schemas/--shared-only", help="Also in the schemas that tenants have of their own.")
    ] = True,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="How long a place may take.")] = 30.0,
    as_json: Json = False,
) -> None:
    """Ask every shard, read-only, and show the answers side by side.

    A place that does not answer is named, and the exit code is 3: a part is never shown as the whole.
    """
    answers = terminal.run(
        across.ask(configuration.load(), question, shards=shard or (), own_schemas=own_schemas, seconds=seconds)
    )
    failed = [answer for answer in answers if answer.error]
    if as_json:
        terminal.print_json({"complete": not failed, "answers": [_as_dict(answer) for answer in answers]})
    else:
        for table in _tables(answers):
            terminal.out.print(table)
        for answer in failed:
            assert answer.error
            terminal.err.print(f"{answer.shard} {answer.schema}: {answer.error.message}", style="red", markup=False)
        if failed:
            terminal.err.print(f"{len(answers) - len(failed)} of {len(answers)} places have answered", style="bold red")
    if failed:
        raise typer.Exit(terminal.UNAVAILABLE)


def _tables(answers: Sequence[Answer]) -> list[Table]:
    """Return a table for each set of columns, which are the same everywhere unless the schemas differ."""
    tables: dict[tuple[str, ...], Table] = {}
    for answer in answers:
        if answer.error:
            continue
        if answer.columns not in tables:
            tables[answer.columns] = Table("shard", "schema", *answer.columns, box=None)
        for row in answer.rows:
            tables[answer.columns].add_row(answer.shard, answer.schema, *(Text(str(value)) for value in row))
    return list(tables.values())


def _as_dict(answer: Answer) -> dict[str, object]:
    return {
        "shard": answer.shard,
        "schema": answer.schema,
        "rows": [dict(zip(answer.columns, row, strict=True)) for row in answer.rows],
        "error": answer.error.as_dict() if answer.error else None,
    }
