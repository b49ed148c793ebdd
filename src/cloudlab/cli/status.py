"""`cloudlab status`: what of the embedded stack runs."""

from collections.abc import Sequence
from dataclasses import asdict

import typer
from rich.table import Table

from cloudlab import config as configuration
from cloudlab.cli.terminal import UNAVAILABLE, Json, out, print_json, run
from cloudlab.embedded import stack
from cloudlab.embedded.stack import ServerStatus

_STYLES = {"running": "green", "stopped": "yellow", "crashed": "bold red"}


def status(as_json: Json = False) -> None:
    """Show each server of the embedded stack; exit code 3 unless all of them run.

    Examples: `cloudlab status` · `cloudlab status --json`
    """
    servers = run(stack.status(configuration.state_dir()))
    if as_json:
        print_json([asdict(server) for server in servers])
    else:
        show_servers(servers)
    if any(server.state != "running" for server in servers):
        raise typer.Exit(UNAVAILABLE)


def show_servers(servers: Sequence[ServerStatus]) -> None:
    """Print the servers as a table; memory is what each occupies alone, in MiB."""
    table = Table("server", "state", "process", "address", "version", "MiB")
    for server in servers:
        table.add_row(
            server.name,
            f"[{_STYLES[server.state]}]{server.state}[/]",
            str(server.pid or ""),
            server.address,
            server.version,
            str(server.memory_bytes >> 20) if server.memory_bytes else "",
        )
    out.print(table)
