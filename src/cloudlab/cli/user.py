"""`cloudlab user`: erasing a person.

Standard: §8.2 Soft Deletion, §9.1 Encryption at Rest
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table

from cloudlab.cli.terminal import Json, err, out, print_json, run
from cloudlab.errors import NotFound
from cloudlab.events import erasures
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.session import Session
from cloudlab.shop import erasure, readmodels, users
from cloudlab.shop.erasure import Holdings
from cloudlab.values import Cause

app = typer.Typer(help="Erase persons, and erase them again after a restore.", no_args_is_help=True)

TenantName = Annotated[str, typer.Option("--tenant", help="Name of the tenant.")]


@app.command(
    epilog="Examples: cloudlab user erase ada@acme.test --tenant acme --dry-run · "
    "cloudlab user erase 0199d6f0-… --tenant acme --yes"
)
def erase(
    who: Annotated[str, typer.Argument(metavar="EMAIL|ID", help="Address or id of the account.")],
    tenant: TenantName,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be erased.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Erase a person: blank the account, destroy the key of what events say of them, drop their snapshots.

    It cannot be undone, and it survives a restore: the ledger of erasures is applied again by `user replay-erasures`.
    Orders and payments stay, under an id that leads nowhere.
    """
    user_id, held = run(_look(tenant, who))
    if not dry_run:
        if not yes:
            _show(user_id, held, "would be erased")
            typer.confirm(f"Erase {user_id} for ever?", abort=True, err=True)
        held = run(_erase(tenant, user_id))
    if as_json:
        print_json({"user_id": user_id, "dry_run": dry_run, **asdict(held)})
    else:
        _show(user_id, held, "would be erased" if dry_run else "erased")


@app.command("replay-erasures", epilog="Example: cloudlab user replay-erasures --tenant acme")
def replay_erasures(
    tenant: Annotated[str | None, typer.Option(help="Only of this tenant.")] = None, as_json: Json = False
) -> None:
    """Apply the ledger of erasures again: after a restore, which brings back what was erased. It may be repeated."""

    async def work() -> tuple[int, int]:
        async with Platform.open(projections=readmodels.ALL) as platform, Pools(platform.config.limits) as pools:
            only = (await platform.tenant(tenant)).tenant_id if tenant else None
            known = {one.tenant_id for one in await platform.tenants()}
            ledger = await erasures.requested(pools, platform.config, only)
            ledger = [entry for entry in ledger if entry.tenant_id in known]

            @asynccontextmanager
            async def open_session(tenant_id: UUID) -> AsyncGenerator[Session]:
                async with platform.session(await platform.tenant(tenant_id), cause=_CAUSE) as s:
                    yield s

            return len(ledger), await erasure.replay_erasures(open_session, ledger)

    entries, found = run(work())
    if as_json:
        print_json({"entries": entries, "erased_again": found})
    else:
        err.print(f"{entries} in the ledger, {found} erased again", highlight=False)


_CAUSE = Cause(actor="operator:erasure")


async def _look(tenant_name: str, who: str) -> tuple[UUID, Holdings]:
    async with Platform.open() as platform, platform.session(await platform.tenant(tenant_name), readonly=True) as s:
        user_id = _as_id(who) or (await users.find_by_email(s, who)).user_id
        held = await erasure.holdings(s, user_id)
    if held.is_empty and not held.erased_at:
        raise NotFound(f"nothing is known of {who} in tenant {tenant_name}")
    return user_id, held


async def _erase(tenant_name: str, user_id: UUID) -> Holdings:
    async with Platform.open(projections=readmodels.ALL) as platform, Pools(platform.config.limits) as pools:
        tenant = await platform.tenant(tenant_name)
        # The ledger first: whatever stops this between the two, replaying it finishes the erasure.
        await erasures.request(pools, platform.config, tenant.tenant_id, user_id)
        return await platform.run(tenant, lambda s: erasure.erase(s, user_id), cause=_CAUSE)


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _show(user_id: UUID, held: Holdings, what: str) -> None:
    table = Table(f"of {user_id}", what)
    for name in ("accounts", "profiles", "payment_methods", "snapshots", "keys"):
        table.add_row(name.replace("_", " "), str(getattr(held, name)))
    out.print(table)
    if held.erased_at:
        err.print(f"erased before, at {held.erased_at:%Y-%m-%d %H:%M:%S}", highlight=False)
