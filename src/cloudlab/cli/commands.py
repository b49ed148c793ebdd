"""Every command by its noun."""

import importlib.metadata
from typing import Annotated

import typer

from cloudlab.cli import (
    check,
    demo,
    describing,
    doctor,
    down,
    event,
    importing,
    key,
    migrate,
    online,
    partition,
    pgbouncer,
    projection,
    saga,
    security,
    shard,
    status,
    tenant,
    up,
    user,
    worker,
)

app = typer.Typer(
    name="cloudlab",
    help="The data platform of a distributed, multi-tenant shop.",
    epilog="Start with `cloudlab demo`; `cloudlab NOUN --help` shows examples.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    """Say which version this is."""
    if show:
        typer.echo(importlib.metadata.version("cloudlab"))
        raise typer.Exit


app.command()(up.up)
app.command()(down.down)
app.command()(status.status)
app.command()(doctor.doctor)
app.command()(demo.demo)
app.command("import")(importing.import_)
app.command()(worker.worker)
check.register(app)
app.add_typer(migrate.app, name="migrate")
app.add_typer(online.app, name="online")
app.add_typer(describing.app, name="schema")
app.add_typer(tenant.app, name="tenant")
app.add_typer(shard.app, name="shard")
app.add_typer(event.app, name="event")
app.add_typer(partition.app, name="partition")
app.add_typer(user.app, name="user")
app.add_typer(key.app, name="key")
app.add_typer(projection.app, name="projection")
app.add_typer(saga.app, name="saga")
app.add_typer(pgbouncer.app, name="pgbouncer")
app.add_typer(security.app, name="security")
