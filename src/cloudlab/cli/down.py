"""`cloudlab down`: stop the embedded stack."""

from typing import Annotated

import typer

from cloudlab import config as configuration
from cloudlab.cli.terminal import Json, err, print_json, run
from cloudlab.embedded import stack


def down(
    purge: Annotated[bool, typer.Option("--purge", help="Delete all data, secrets and logs as well.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")] = False,
    as_json: Json = False,
) -> None:
    """Stop the embedded stack; the data stays unless you say --purge.

    Examples: `cloudlab down` · `cloudlab down --purge --yes`
    """
    state_dir = configuration.state_dir()
    if purge and not yes:
        typer.confirm(f"Delete all data of the stack in {state_dir}?", abort=True, err=True)
    run(stack.down(state_dir, purge=purge))
    if as_json:
        print_json({"state_dir": str(state_dir), "purged": purge})
    else:
        err.print("Stopped, and all data deleted." if purge else "Stopped. The data is kept: `cloudlab up` goes on.")
