"""`cloudlab shard`: the databases that hold tenants, emptying one, spreading tenants among them.

Standard: §7.2 Tenant-Based Sharding
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Annotated

import typer
from rich.progress import Progress
from rich.table import Table

from cloudlab import config as configuration
from cloudlab.cli import asking
from cloudlab.cli.terminal import Json, err, out, print_json, run
from cloudlab.config import Config, ShardConfig
from cloudlab.errors import ConfigError, Conflict
from cloudlab.postgres.pool import Pools
from cloudlab.schema.places import find_targets
from cloudlab.schema.targets import TargetResult, migrate_all
from cloudlab.tenancy import balance, shards
from cloudlab.tenancy.balance import ShardState, Step
from cloudlab.tenancy.move_places import can_move
from cloudlab.tenancy.moves import Move

app = typer.Typer(help="See the shards, empty one, spread the tenants.", no_args_is_help=True)

app.command(epilog="Example: cloudlab shard query 'SELECT status, count(*) FROM orders GROUP BY 1'")(asking.query)

Plan = Annotated[bool, typer.Option("--plan", help="Change nothing; say which tenants would move where.")]


@app.command("list", epilog="Example: cloudlab shard list --json")
def list_(as_json: Json = False) -> None:
    """List the shards: region, tenants, and moves under way."""

    async def work() -> list[ShardState]:
        config = configuration.load()
        async with Pools(config.limits) as pools:
            return await balance.list_shards(pools, config)

    found = run(work())
    if as_json:
        print_json([asdict(shard) for shard in found])
        return
    table = Table("shard", "region", "takes new tenants", "tenants", "arriving", "leaving", box=None)
    for shard in found:
        takes = "yes" if shard.is_active else "no"
        table.add_row(shard.name, shard.region, takes, *map(str, (shard.tenants, shard.arriving, shard.leaving)))
    out.print(table)


@app.command(epilog="Example: cloudlab shard add eu_west_002 --plan")
def add(
    shard: Annotated[str, typer.Argument(help="The shard, as the configuration names it.")],
    plan: Annotated[bool, typer.Option("--plan", help="Change nothing; say what would be done.")] = False,
    as_json: Json = False,
) -> None:
    """Take a shard of the configuration into service: migrate its database, enter it in the directory.

    New tenants may be placed there from then on; `shard rebalance` moves some there. It may be repeated.
    """

    async def work() -> tuple[list[TargetResult], str | None]:
        config = configuration.load()
        one = _named(config, shard)
        async with Pools(config.limits) as pools:
            missing = await _missing_for_moves(pools, one.urls.owner_url)
            targets = [*await find_targets(config, f"shard:{shard}"), *await find_targets(config, f"tenant:{shard}")]
            results = await migrate_all(targets, dry_run=plan)
            if not plan:
                await shards.register(pools, replace(config, shards=(one,)))
        return results, missing

    results, missing = run(work())
    count = sum(len(result.applied) for result in results)
    if as_json:
        print_json({"shard": shard, "migrations": count, "added": not plan, "missing_for_moves": missing})
        return
    typer.echo(
        f"{shard}: {count} migrations {'would be applied, then it takes' if plan else 'applied, it takes'} tenants"
    )
    if missing:
        err.print(f"no tenant can move there or away yet: {missing}", markup=False)


def _named(config: Config, shard: str) -> ShardConfig:
    for one in config.shards:
        if one.name == shard:
            return one
    raise ConfigError(
        f"the configuration names no shard {shard}, only {', '.join(one.name for one in config.shards)}",
        hint="Add it to cloudlab.toml as [[shards]]; in the embedded stack by `cloudlab up --shards NAME:REGION`.",
    )


async def _missing_for_moves(pools: Pools, url: str) -> str | None:
    """Return what the server lacks for moves, with the remedy; a shard whose tenants stay can do without."""
    async with pools.connection(url) as connection:
        try:
            await can_move(connection, connection)
        except Conflict as error:
            return f"{error}. {error.hint}"
    return None


@app.command(epilog="Example: cloudlab shard drain eu_west_001 --plan")
def drain(
    shard: Annotated[str, typer.Argument(help="The shard to empty.")], plan: Plan = False, as_json: Json = False
) -> None:
    """Move every tenant of a shard to others of its region; no new one is placed on it.

    If it is interrupted, the same command goes on.
    """

    async def steps(pools: Pools, config: Config) -> list[Step]:
        found = await balance.plan_drain(pools, config, shard)
        if not plan:
            await balance.set_active(pools, config, shard, is_active=False)
        return found

    _carry_out(steps, plan=plan, as_json=as_json)


@app.command(epilog="Example: cloudlab shard rebalance --plan")
def rebalance(plan: Plan = False, as_json: Json = False) -> None:
    """Move tenants so that the shards of each region hold equally many."""
    _carry_out(balance.plan_rebalance, plan=plan, as_json=as_json)


@app.command(epilog="Example: cloudlab shard activate eu_west_001")
def activate(shard: Annotated[str, typer.Argument(help="The shard.")]) -> None:
    """Let new tenants be placed on a shard again, after it was drained."""

    async def work() -> None:
        config = configuration.load()
        async with Pools(config.limits) as pools:
            await balance.set_active(pools, config, shard, is_active=True)

    run(work())


def _carry_out(plan_of: Callable[[Pools, Config], Awaitable[list[Step]]], *, plan: bool, as_json: bool) -> None:
    async def work() -> tuple[list[Step], list[Move]]:
        config = configuration.load()
        async with Pools(config.limits) as pools:
            steps = await plan_of(pools, config)
            if plan:
                return steps, []
            quiet = as_json or not err.is_terminal
            with Progress(console=err, disable=quiet, transient=True) as bar:
                task = bar.add_task("tenants", total=len(steps))
                return steps, await balance.carry_out(
                    pools, config, steps, lambda done, _, move: bar.update(task, completed=done)
                )

    steps, done = run(work())
    if as_json:
        print_json([asdict(each) for each in (steps if plan else done)])
        return
    for step in steps:
        typer.echo(f"{step.tenant_name}: {step.source} → {step.target}")
    typer.echo(f"{len(steps)} tenant{'' if len(steps) == 1 else 's'} {'would move' if plan else 'moved'}")
