"""`cloudlab security`: is every tenant alone with its data?

Standard: §9.2 Access Control
"""

from collections import Counter
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from cloudlab import config as configuration
from cloudlab.cli.terminal import CHECK_FAILED, Json, out, print_json, run
from cloudlab.config import Config, ShardConfig
from cloudlab.errors import InvalidInput
from cloudlab.postgres.pool import Pools
from cloudlab.tenancy import tenants
from cloudlab.tenancy.arena import Verdict
from cloudlab.tenancy.audit import Audit, meanings
from cloudlab.tenancy.audit import audit as audit_shard
from cloudlab.tenancy.tenants import Tenant, shard_config

app = typer.Typer(help="Try to reach one tenant's data from another.", no_args_is_help=True)
_STYLES = {Verdict.HELD: "green", Verdict.LEAKED: "bold red", Verdict.UNPROVEN: "yellow", Verdict.KNOWN: "cyan"}


@app.callback()
def security() -> None:
    """Try to reach one tenant's data from another."""


@app.command(epilog="Examples: cloudlab security audit · cloudlab security audit --tenant acme --json")
def audit(
    shard: Annotated[str | None, typer.Option(help="This shard alone; by default all.", show_default=False)] = None,
    tenant: Annotated[
        str | None, typer.Option(help="The tenant that attacks; by default one of each placement.", show_default=False)
    ] = None,
    attack: Annotated[
        list[str] | None, typer.Option(help="This attack alone; may be repeated.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge the catalog of each shard, and try every attack on every table; exit code 1 on a leak.

    Every attempt is rolled back. Unproven is an attack on a table in which no other tenant has a row.
    """
    for name in attack or []:
        if name not in meanings():
            raise InvalidInput(f"there is no attack {name!r}", hint=f"Choose of {', '.join(meanings())}.")
    found = run(_audit(configuration.load(), shard, tenant, attack))
    if as_json:
        print_json([asdict(one) | {"is_leaking": one.is_leaking} for one in found])
    else:
        for one in found:
            _show(one, attack)
    if any(one.is_leaking for one in found):
        raise typer.Exit(CHECK_FAILED)


async def _audit(config: Config, shard: str | None, tenant: str | None, only: list[str] | None) -> list[Audit]:
    attacker: Tenant | None = None
    chosen: tuple[ShardConfig, ...] = config.shards
    if tenant:
        async with Pools(config.limits) as pools:
            attacker = await tenants.find(pools, config, tenant)
        chosen = (shard_config(config, attacker.shard),)
    elif shard:
        chosen = (shard_config(config, shard),)
    tenant_id = attacker.tenant_id if attacker else None
    return [await audit_shard(place, tenant_id=tenant_id, only=only) for place in chosen]


def _show(found: Audit, only: list[str] | None) -> None:
    table = Table("attack", *(str(verdict) for verdict in Verdict), "if it leaked", title=found.shard)
    for name, meaning in meanings().items():
        if only and name not in only:
            continue
        verdicts = Counter(attempt.verdict for attempt in found.attempts if attempt.attack == name)
        cells = [f"[{_STYLES[verdict]}]{verdicts[verdict]}[/]" if verdicts[verdict] else "" for verdict in Verdict]
        table.add_row(name, *cells, meaning)
    out.print(table)
    for attempt in found.attempts:
        if attempt.verdict is Verdict.LEAKED:
            where = f"{attempt.place} as {attempt.login}, {attempt.placement}"
            out.print(f"[bold red]leaked[/] {attempt.attack}: {where}: {attempt.detail}", highlight=False)
    for breach in found.breaches:
        out.print(f"[bold red]{breach.rule}[/] {breach.place}: {breach.message}. {breach.remedy}", highlight=False)
    if not found.attempts:
        out.print("Nothing was attacked: it takes two open tenants on the shard.")
    elif not found.is_leaking:
        out.print(f"{len(found.attempts):,} attempts, no leak; the catalog keeps every rule.", highlight=False)
