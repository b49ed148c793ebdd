"""SH01: the directory of tenants and the shards say the same.

Standard: §7.2 Tenant-Based Sharding
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Fleet, Found, Level, Local, Placed, Rule, Shard


def _check(fleet: Fleet) -> Iterator[Found]:
    placed = {one.id: one for one in fleet.placed}
    for shard in fleet.shards:
        yield from _served(shard, placed)
        known = {one.id for one in shard.local}
        for one in fleet.placed:
            if one.settled and one.shard == shard.name and one.id not in known:
                yield Found(f"the directory places {one.tenant} on {shard.name}, which does not know it",
                            name=one.tenant)  # fmt: skip


def _served(shard: Shard, placed: dict[str, Placed]) -> Iterator[Found]:
    """Report what a shard serves in another way than the directory says."""
    for local in shard.local:
        there = placed.get(local.id)
        if local.settled and (there is None or there.settled) and (message := _difference(shard, local, there)):
            yield Found(f"{shard.name} serves {local.tenant}{message}", name=local.tenant)


def _difference(shard: Shard, local: Local, there: Placed | None) -> str:
    if there is None:
        return ", which the directory does not know"
    if there.shard != shard.name:
        return f", which the directory places on {there.shard or 'no shard'}"
    if there.schema != local.schema:
        return f" in {local.schema}, which the directory places in {there.schema}"
    return "" if local.schema in shard.schemas else f" in {local.schema}, and has no such schema"


RULE = Rule(
    id="SH01",
    title="The directory of tenants and the shards say the same",
    heading="§7.2 Tenant-Based Sharding",
    level=Level.ERROR,
    why="Whoever is routed to a shard that does not serve the tenant is refused; of two shards that both serve it each "
    "has half of its rows. Asked where the control database and shards of an installation are given together; what is "
    "being created, moved or dropped is left alone.",
    remedy="`cloudlab tenant status NAME` shows both sides; repeat the command that was interrupted.",
    fleet=_check,
)
