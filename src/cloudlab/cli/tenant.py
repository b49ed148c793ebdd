"""`cloudlab tenant`: the customers of the platform.

Standard: §4.2 Tenant Configuration
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from cloudlab.cli import moving
from cloudlab.cli.terminal import Json, out, print_json, run
from cloudlab.errors import InvalidInput
from cloudlab.platform import Platform
from cloudlab.tenancy import export as exporting
from cloudlab.tenancy.purging import Purge
from cloudlab.tenancy.tenants import Placement, Tenant, shard_config

app = typer.Typer(help="Create, look up, limit, suspend, rename and drop tenants.", no_args_is_help=True)


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
    """Show one tenant, and its settings in JSON."""

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
        if tenant.drop_after:
            state = f"dropped, kept until {tenant.drop_after:%Y-%m-%d}"
        if tenant.pending:
            state = f"{state}; {tenant.pending} is not finished"
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


Name = Annotated[str, typer.Argument(help="Name of the tenant.")]


def _change(name: str, verb: Callable[[Platform, Tenant], Awaitable[Tenant]], *, as_json: bool) -> None:
    async def work() -> Tenant:
        async with Platform.open() as platform:
            return await verb(platform, await platform.tenant(name))

    show_tenants([run(work())], as_json=as_json)


@app.command(epilog="Example: cloudlab tenant suspend acme")
def suspend(name: Name, as_json: Json = False) -> None:
    """Refuse every new session of a tenant, in every process. Interrupted, it is finished by the same command."""
    _change(name, lambda platform, tenant: platform.suspend_tenant(tenant), as_json=as_json)


@app.command(epilog="Example: cloudlab tenant resume acme")
def resume(name: Name, as_json: Json = False) -> None:
    """Serve a suspended or dropped tenant again."""
    _change(name, lambda platform, tenant: platform.resume_tenant(tenant), as_json=as_json)


@app.command(epilog="Example: cloudlab tenant rename acme acme-europe")
def rename(name: Name, new_name: Annotated[str, typer.Argument(help="Its new name.")], as_json: Json = False) -> None:
    """Give a tenant another name; its id, its schema and its data keep theirs."""
    _change(name, lambda platform, tenant: platform.rename_tenant(tenant, new_name), as_json=as_json)


@app.command(
    epilog="Examples: cloudlab tenant settings acme · cloudlab tenant settings acme sessions_max=4 "
    "statement_timeout_seconds=2 rows_per_second="
)
def settings(
    name: Name,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="What to set; without a value, the default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show or change the settings of a tenant. Processes that run follow within half a minute."""
    wanted = dict(_assignment(change) for change in changes or [])

    async def work() -> Tenant:
        async with Platform.open() as platform:
            tenant = await platform.tenant(name)
            return await platform.change_settings(tenant, **wanted) if wanted else tenant

    found = asdict(run(work()).settings)
    if as_json:
        print_json(found)
        return
    table = Table("setting", "value")
    for key, value in found.items():
        table.add_row(key, "[dim]default[/]" if value is None else str(value))
    out.print(table)


def _assignment(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InvalidInput(f"{text!r} is not NAME=VALUE")
    return name, value or None


@app.command(epilog="Example: cloudlab tenant export acme acme-2026-11")
def export(
    name: Name, folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet.")], as_json: Json = False
) -> None:
    """Write all of a tenant into a folder: a CSV for each table, and a manifest with counts and hashes."""

    async def work() -> dict[str, int]:
        async with Platform.open() as platform:
            return await platform.export_tenant(await platform.tenant(name), folder)

    _show_rows(run(work()), as_json=as_json)


def _show_rows(rows: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
        return
    table = Table("table", "rows")
    for name, count in rows.items():
        table.add_row(name, f"{count:,}")
    out.print(table)


@app.command(epilog="Examples: cloudlab tenant drop acme --export acme-2026-11 · cloudlab tenant drop acme --dry-run")
def drop(
    name: Name,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="Export it to this new folder first.", show_default=False)
    ] = None,
    no_export: Annotated[bool, typer.Option("--no-export", help="Drop it without an export.")] = False,
    grace_days: Annotated[float, typer.Option(min=0, help="So long `tenant resume` brings it back whole.")] = 30.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what it holds.")] = False,
    as_json: Json = False,
) -> None:
    """Stop serving a tenant and export it; after the grace period `cloudlab worker` deletes its data."""
    if dry_run:
        _show_rows(run(_count(name)), as_json=as_json)
        return
    if (export_to is None) is not no_export:
        raise InvalidInput("a tenant is exported before it is dropped", hint="Give --export FOLDER, or --no-export.")

    async def work() -> Tenant:
        async with Platform.open() as platform:
            tenant = await platform.tenant(name)
            # Exported once nobody writes any more; a failure leaves it suspended, and the command is repeated.
            tenant = await platform.suspend_tenant(tenant)
            if export_to:
                await platform.export_tenant(tenant, export_to)
            return await platform.drop_tenant(tenant, grace=timedelta(days=grace_days))

    show_tenants([run(work())], as_json=as_json)


@app.command(epilog="Examples: cloudlab tenant find --domain ada@acme.example · cloudlab tenant find --order A-1001")
def find(
    domain: Annotated[str | None, typer.Option(help="An e-mail domain, or an address of it.")] = None,
    order: Annotated[str | None, typer.Option(help="An order number.")] = None,
    as_json: Json = False,
) -> None:
    """Say which tenant has an e-mail domain or an order number; nothing is printed when none has."""

    async def work() -> list[Tenant]:
        async with Platform.open() as platform:
            return list(await platform.find_tenants(domain=domain, order_number=order))

    show_tenants(run(work()), as_json=as_json)


@app.command(
    epilog="Examples: cloudlab tenant claim acme acme.example · cloudlab tenant claim acme acme.example --release"
)
def claim(
    name: Name,
    domain: Annotated[str, typer.Argument(help="The e-mail domain.")],
    release: Annotated[bool, typer.Option("--release", help="It belongs to the tenant no more.")] = False,
) -> None:
    """Note that an e-mail domain belongs to a tenant, for `tenant find`. Only a keyed digest of it is kept."""

    async def work() -> None:
        async with Platform.open() as platform:
            tenant = await platform.tenant(name)
            if release:
                await platform.release_domain(tenant, domain)
            else:
                await platform.claim_domain(tenant, domain)

    run(work())


@app.command(epilog="Example: cloudlab tenant purge --json")
def purge(as_json: Json = False) -> None:
    """Delete now the tenants whose grace is over, as `cloudlab worker` does, and list all deletions there were."""

    async def work() -> list[Purge]:
        async with Platform.open() as platform:
            await platform.purges.carry_on()
            return await platform.purges.list()

    found = run(work())
    if as_json:
        print_json([asdict(each) for each in found])
        return
    table = Table("name", "id", "shard", "rows deleted", "began", "ended")
    for each in found:
        ended = f"{each.finished_at:%Y-%m-%d %H:%M}" if each.finished_at else "under way"
        count, began = f"{each.deleted_count:,}", f"{each.created_at:%Y-%m-%d %H:%M}"
        table.add_row(each.tenant_name, str(each.tenant_id), each.shard, count, began, ended)
    out.print(table)


async def _count(name: str) -> dict[str, int]:
    async with Platform.open() as platform:
        tenant = await platform.tenant(name)
        return await exporting.count(shard_config(platform.config, tenant.shard), tenant)
