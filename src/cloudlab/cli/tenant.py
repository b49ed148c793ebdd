"""`cloudlab tenant`: the customers of the platform.

Standard: §4.2 Tenant Configuration
"""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from cloudlab.cli import moving
from cloudlab.cli.terminal import Json, out, print_json, run
from cloudlab.platform import Platform
from cloudlab.tenancy.tenants import Placement, Tenant

app = typer.Typer(help="Create and look up tenants.", no_args_is_help=True)


@app.command(epilog="Example: cloudlab tenant create acme --region eu-west-1 --placement schema")
def create(
    name: Annotated[str, typer.Argument(help="1 to 48 of a-z, 0-9 and '-', a letter first.")],
    region: Annotated[
        str | None, typer.Option(help="Where its data must stay; by default the emptiest shard's.")
    ] = None,
    placement: Annotated[Placement, typer.Option(help="Rows of the shared tables, or a schema of its own.")] = (
        Placement.ROW
    ),
    as_json: Json = False,
) -> None:
    """Create a tenant. A creation that was interrupted is finished by the same command."""

    async def work() -> Tenant:
        async with Platform.open() as platform:
            return await platform.create_tenant(name, region=region, placement=placement)

    show_tenants([run(work())], as_json=as_json)


@app.command("list", epilog="Example: cloudlab tenant list --json")
def list_(as_json: Json = False) -> None:
    """List all tenants: where each lives, and how."""

    async def work() -> list[Tenant]:
        async with Platform.open() as platform:
            return await platform.tenants()

    show_tenants(run(work()), as_json=as_json)


@app.command(epilog="Example: cloudlab tenant show acme")
def show(name: Annotated[str, typer.Argument(help="Name of the tenant.")], as_json: Json = False) -> None:
    """Show one tenant."""

    async def work() -> Tenant:
        async with Platform.open() as platform:
            return await platform.tenant(name)

    show_tenants([run(work())], as_json=as_json)


app.command(epilog="Example: cloudlab tenant move acme --to eu_west_002 --plan")(moving.move)


def show_tenants(tenants: list[Tenant], *, as_json: bool) -> None:
    """Print tenants as a table, or as a JSON array."""
    if as_json:
        print_json([asdict(tenant) for tenant in tenants])
        return
    table = Table("name", "id", "region", "shard", "placement", "schema", "state")
    for tenant in tenants:
        state = tenant.state if tenant.is_active else "suspended"
        table.add_row(
            tenant.tenant_name,
            str(tenant.tenant_id),
            tenant.region,
            tenant.shard,
            tenant.placement,
            tenant.schema_name,
            state,
        )
    out.print(table)
