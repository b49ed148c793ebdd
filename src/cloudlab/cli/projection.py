"""`cloudlab projection`: how far the readers of the feed have come.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

from dataclasses import asdict

import typer
from rich.table import Table

from cloudlab.cli.terminal import CHECK_FAILED, Json, out, print_json, run
from cloudlab.events.projections import Progress
from cloudlab.platform import Platform

app = typer.Typer(help="See how far the readers of the feed have come.", no_args_is_help=True)


@app.callback()
def projection() -> None:
    """See how far the readers of the feed have come."""


@app.command("list", epilog="Example: cloudlab projection list --json")
def list_(as_json: Json = False) -> None:
    """List every projection of every shard: position, events behind, failures. Exit code 1 when one is failing."""

    async def work() -> dict[str, list[Progress]]:
        async with Platform.open() as platform:
            return {shard.name: await platform.progress(shard.name) for shard in platform.config.shards}

    found = run(work())
    if as_json:
        print_json([{"shard": shard, **asdict(item)} for shard, items in found.items() for item in items])
    else:
        table = Table("shard", "projection", "position", "behind", "failed attempts", "last error")
        for shard, items in found.items():
            for item in items:
                row = (item.event_position, item.lag_events, item.failed_attempts)
                table.add_row(shard, item.projection_name, *(str(number) for number in row), item.last_error or "")
        out.print(table)
    if any(item.failed_attempts for items in found.values() for item in items):
        raise typer.Exit(CHECK_FAILED)
