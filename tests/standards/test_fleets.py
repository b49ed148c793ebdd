"""Directory and shards of an installation are compared, on real databases with real tenants.

Standard: §7.2 Tenant-Based Sharding
"""

import asyncio
from collections.abc import Callable
from io import StringIO

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.standards import checking, files, running
from cloudlab.standards.order import Order
from cloudlab.standards.rule import Fleet, Local, Placed, Shard
from cloudlab.standards.rules import named
from cloudlab.tenancy.tenants import Tenant

RULE = named("SH01")
ACME = Placed("1", "acme", "shop", "s1", settled=True)
LOCAL = Local("1", "acme", "shop", settled=True)
SCHEMAS = frozenset({"shop", "cloudlab"})


def said(placed: list[Placed], *shards: Shard) -> list[str]:
    return [one.found.message for one in checking.of_fleet(Fleet(placed, shards), [RULE])]


@pytest.mark.parametrize(
    ("placed", "local", "wanted"),
    [
        ([ACME], [], "the directory places acme on s1, which does not know it"),
        ([], [LOCAL], "s1 serves acme, which the directory does not know"),
        (
            [Placed("1", "acme", "shop", "s2", settled=True)],
            [LOCAL],
            "s1 serves acme, which the directory places on s2",
        ),
        (
            [ACME],
            [Local("1", "acme", "acme", settled=True)],
            "s1 serves acme in acme, which the directory places in shop",
        ),
        (
            [Placed("1", "acme", "away", "s1", settled=True)],
            [Local("1", "acme", "away", settled=True)],
            "s1 serves acme in away, and has no such schema",
        ),
    ],
)
def test_a_disagreement_is_reported(placed: list[Placed], local: list[Local], wanted: str):
    assert said(placed, Shard("s1", local, SCHEMAS)) == [wanted]


@pytest.mark.parametrize(
    ("placed", "local"),
    [
        ([ACME], [LOCAL]),
        ([Placed("1", "acme", "shop", "s1", settled=False)], []),
        ([Placed("1", "acme", "shop", "s2", settled=True)], [Local("1", "acme", "shop", settled=False)]),
        ([Placed("1", "acme", "shop", "s2", settled=True)], []),
    ],
)
def test_what_agrees_or_is_under_way_is_left_alone(placed: list[Placed], local: list[Local]):
    assert said(placed, Shard("s1", local, SCHEMAS)) == []


@pytest.fixture
def ask(config: Config) -> Callable[[], list[str]]:
    """Check the control database and the shards as their owners."""
    urls = (config.control.owner_url, *(shard.urls.owner_url for shard in config.shards))

    def check() -> list[str]:
        result = running.run(Order(urls, select=("SH01",)), files.read(urls, StringIO()))
        return [line for line in result.text.splitlines() if "SH01" in line]

    return check


async def test_a_real_installation_agrees_until_somebody_meddles(
    config: Config, platform: Platform, acme: Tenant, ask: Callable[[], list[str]]
):
    await platform.create_tenant("globex", region="eu-west-1", placement="schema")
    assert await asyncio.to_thread(ask) == []
    shard = next(one for one in config.shards if one.name == acme.shard)
    with psycopg.connect(shard.urls.owner_url) as conn:
        conn.execute("DELETE FROM cloudlab.tenant_local WHERE tenant_id = %s", [acme.tenant_id])
    (line,) = await asyncio.to_thread(ask)
    assert f"the directory places acme on {acme.shard}, which does not know it" in line


async def test_who_may_not_see_all_tenants_is_told_nothing(config: Config, platform: Platform, acme: Tenant):
    del platform, acme
    urls = [config.control.owner_url, *(shard.urls.readonly_url for shard in config.shards)]
    assert await asyncio.to_thread(running.run, Order(tuple(urls), select=("SH01",)), []) == running.Result(
        "nothing found", failed=False
    )
