"""`cloudlab pgbouncer`: a pooler between many processes and few connections.

Standard: §5.3 PgBouncer Configuration
"""

import os
import re
from pathlib import Path
from typing import Annotated

import typer

from cloudlab import config as configuration
from cloudlab.cli.terminal import Json, err, print_json, run
from cloudlab.errors import InvalidInput, NotFound
from cloudlab.postgres import pgbouncer
from cloudlab.postgres.pgbouncer import PREPARES, Line, Options

app = typer.Typer(help="Write the configuration of PgBouncer.", no_args_is_help=True)


@app.callback()
def pooler() -> None:
    """Write the configuration of PgBouncer."""


@app.command(epilog="Example: cloudlab pgbouncer config --output /etc/pgbouncer --tls /etc/tls")
def config(
    shard: Annotated[
        list[str] | None, typer.Option(help="This shard alone; may be repeated.", show_default=False)
    ] = None,
    output: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("pgbouncer"),
    listen: Annotated[
        str, typer.Option(help="The address to listen on; beyond loopback only with --tls.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port to listen on.")] = 6432,
    tls: Annotated[
        Path | None, typer.Option(help="Folder with server.crt, server.key and ca.crt.", show_default=False)
    ] = None,
    instances: Annotated[int, typer.Option(min=1, help="How many PgBouncers share the servers.")] = 1,
    version: Annotated[
        str | None, typer.Option(help="Of PgBouncer; by default the one installed here.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Write pgbouncer.ini, userlist.txt and auth.sql for every shard, its limits computed from what the servers allow.

    Run auth.sql as superuser in each database, point app_url and readonly_url at PgBouncer, and leave owner_url and
    worker_url as they are.
    """
    installation = configuration.load()
    known = [one.name for one in installation.shards]
    for name in shard or []:
        if name not in known:
            raise NotFound(f"there is no shard {name}", hint=f"There are {', '.join(known)}.")
    options = Options(listen, port, tls.absolute() if tls else None, instances, _version(version))

    async def work() -> list[Line]:
        found = pgbouncer.lines(installation, shard)
        return pgbouncer.sized(found, await pgbouncer.capacities(installation, found), instances)

    found = run(work())
    files = pgbouncer.write(found, installation.limits, options)
    output.mkdir(parents=True, exist_ok=True)
    for name, text in (("pgbouncer.ini", files.ini), ("userlist.txt", files.userlist), ("auth.sql", files.auth_sql)):
        _write_private(output / name, text)
    if as_json:
        print_json({"folder": str(output), "pools": {line.name: line.pool_size for line in found}})
        return
    err.print(f"{output}/pgbouncer.ini: {sum(line.pool_size for line in found)} connections in {len(found)} pools")
    err.print(f"Run {output}/auth.sql as superuser in each database, then start `pgbouncer pgbouncer.ini` in {output}.")
    if options.version < PREPARES:
        err.print("This version mixes up named statements: set prepared_statements_max = 0 in [limits]", style="yellow")


def _version(text: str | None) -> tuple[int, int]:
    if text is None:
        return pgbouncer.installed_version() or PREPARES
    parts = re.fullmatch(r"(\d+)\.(\d+)(\.\d+)?", text)
    if not parts:
        raise InvalidInput(f"{text!r} is not a version of PgBouncer", hint="For example 1.23.")
    return int(parts[1]), int(parts[2])


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    path.chmod(0o600)
