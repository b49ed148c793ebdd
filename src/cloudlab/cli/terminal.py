"""What every command shares: running a coroutine, saying things to people, saying them to machines, and exit codes.

0 = done, 1 = a check failed or the command was refused, 2 = used wrongly, 3 = something is unavailable.
"""

import asyncio
import json
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from cloudlab.errors import CloudLabError, ConfigError, EmbeddedError, InvalidInput, NotFound, Unavailable

T = TypeVar("T")

CHECK_FAILED = 1
WRONG_USE = 2
UNAVAILABLE = 3

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of tables for people.")]

out = Console()
err = Console(stderr=True)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end; Ctrl-C cancels it and what it holds open is closed."""
    return asyncio.run(work)


def print_json(value: object) -> None:
    """Print one JSON document; what JSON has no word for (UUIDs, times, decimals) is printed as text."""
    typer.echo(json.dumps(value, default=str, indent=2, ensure_ascii=False))


def exit_code(error: CloudLabError) -> int:
    """Return the exit code that tells a script what kind of failure this is."""
    if isinstance(error, Unavailable | EmbeddedError):
        return UNAVAILABLE
    if isinstance(error, ConfigError | InvalidInput | NotFound):
        return WRONG_USE
    return CHECK_FAILED


def report(error: CloudLabError, *, as_json: bool) -> None:
    """Say on standard error what went wrong and what to do about it."""
    if as_json:
        typer.echo(json.dumps({"error": error.as_dict()}, ensure_ascii=False), err=True)
        return
    err.print("error:", style="bold red", end=" ")
    err.print(error.message, markup=False, highlight=False)
    if error.details:
        err.print(error.details, style="dim", markup=False, highlight=False)
    if error.hint:
        err.print("hint:", style="bold cyan", end=" ")
        err.print(error.hint, markup=False, highlight=False)
