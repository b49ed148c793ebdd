"""`cloudlab up`: start the embedded stack and make it ready.

Standard: §1.1 Technology Stack
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cloudlab import config as configuration
from cloudlab.cli import setup
from cloudlab.cli.status import show_servers
from cloudlab.cli.terminal import Json, err, print_json, run
from cloudlab.embedded import stack


def up(
    shards: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:REGION,…",
            help="Shards to have; those there already stay. At first us_east_001:us-east-1,eu_west_001:eu-west-1.",
            show_default=False,
        ),
    ] = None,
    tls: Annotated[
        bool | None,
        typer.Option(
            "--tls/--no-tls",
            help="Reach PostgreSQL by TLS, with certificates made here; as it was when not given.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start PostgreSQL, Valkey and ClickHouse on this machine, and migrate their databases.

    Running it again starts what does not run and leaves the rest alone. The data stands in .cloudlab, or where
    CLOUDLAB_STATE_DIR says.

    Examples: `cloudlab up` · `cloudlab up --shards eu_west_002:eu-west-1` · `cloudlab up --json`
    """
    state_dir, wanted = configuration.state_dir(), _parse(shards)
    if Path(configuration.CONFIG_FILE).exists():
        err.print(f"{configuration.CONFIG_FILE} is here: the other commands will use the servers it names.")
    if as_json:
        run(setup.bring_up(state_dir, shards=wanted, tls=tls))
    else:
        with err.status("starting") as line:
            run(setup.bring_up(state_dir, shards=wanted, tls=tls, progress=line.update))
    servers = run(stack.status(state_dir))
    if as_json:
        print_json({"state_dir": str(state_dir), "servers": [asdict(server) for server in servers]})
        return
    show_servers(servers)
    err.print("Next: cloudlab demo")


def _parse(text: str | None) -> list[tuple[str, str]] | None:
    """Read `name:region,name:region`."""
    if text is None:
        return None
    shards: list[tuple[str, str]] = []
    for entry in filter(None, text.split(",")):
        name, colon, region = entry.strip().partition(":")
        if not (name and colon and region):
            raise typer.BadParameter(f"{entry!r} is not NAME:REGION", param_hint="--shards")
        shards.append((name, region))
    return shards
