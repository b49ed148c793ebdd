"""One question to all shards: every place answers for itself, and what is missing is said.

Standard: §7.2 Tenant-Based Sharding
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cloudlab.config import Config
from cloudlab.errors import NotFound, TimedOut, Unavailable
from cloudlab.platform import Platform
from cloudlab.shop import catalog
from cloudlab.tenancy import across
from cloudlab.values import Money
from fixtures.commands import cloudlab, write_config

COUNT = "SELECT count(*) AS products FROM products"


async def filled(platform: Platform) -> None:
    for name, region, placement, products in (
        ("acme", "eu-west-1", "row", 2),
        ("bits", "eu-west-1", "schema", 3),
        ("corp", "us-east-1", "row", 1),
    ):
        tenant = await platform.create_tenant(name, region=region, placement=placement)
        async with platform.session(tenant) as s:
            for number in range(products):
                await catalog.add(s, sku=f"{number}", name="Lamp", price=Money("1", "EUR"), stock=1)


async def test_each_place_answers_for_itself(platform: Platform):
    await filled(platform)
    answers = await across.ask(platform.config, COUNT)
    assert [(one.shard, one.schema, *one.rows) for one in answers] == [
        ("us_east_001", "shop", (1,)),
        ("eu_west_001", "shop", (2,)),
        ("eu_west_001", "tenant_bits", (3,)),
    ]
    assert {one.columns for one in answers} == {("products",)}
    only = await across.ask(platform.config, COUNT, shards=["eu_west_001"], own_schemas=False)
    assert [one.rows for one in only] == [[(2,)]]


async def test_a_shard_that_is_away_is_named_and_the_others_answer(platform: Platform):
    await filled(platform)
    east, west = platform.config.shards
    gone = replace(east, urls=replace(east.urls, worker_url="postgresql://x@127.0.0.1:1/x?connect_timeout=1"))
    answers = await across.ask(replace(platform.config, shards=(gone, west)), COUNT)
    assert [type(one.error) for one in answers] == [Unavailable, type(None), type(None)]
    assert answers[0].shard == "us_east_001"


async def test_a_place_that_takes_too_long_is_an_error(platform: Platform):
    await filled(platform)
    answers = await across.ask(platform.config, "SELECT pg_sleep(20)", seconds=0.3)
    assert answers
    assert all(isinstance(one.error, TimedOut) for one in answers)


@pytest.mark.parametrize(
    "question",
    [
        "DELETE FROM products",
        "SELECT 1; DELETE FROM products",
        "COMMIT",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "WITH gone AS (DELETE FROM products RETURNING 1) SELECT count(*) FROM gone",
    ],
)
async def test_nothing_can_be_changed_by_a_question(platform: Platform, question: str):
    await filled(platform)
    before = [one.rows for one in await across.ask(platform.config, COUNT)]
    answers = await across.ask(platform.config, question)
    assert all(one.error for one in answers) or question == "COMMIT"
    assert [one.rows for one in await across.ask(platform.config, COUNT)] == before


async def test_an_unknown_shard_is_refused(config: Config):
    with pytest.raises(NotFound, match="no shard nowhere"):
        await across.ask(config, COUNT, shards=["nowhere"])


async def test_the_command_says_when_an_answer_is_not_whole(platform: Platform, tmp_path: Path):
    await filled(platform)
    write_config(platform.config, tmp_path)
    shown = cloudlab(tmp_path, "shard", "query", COUNT)
    assert shown.returncode == 0
    assert "tenant_bits" in shown.stdout
    whole = json.loads(cloudlab(tmp_path, "shard", "query", COUNT, "--json").stdout)
    assert whole["complete"]
    assert [row["products"] for one in whole["answers"] for row in one["rows"]] == [1, 2, 3]
    wrong = cloudlab(tmp_path, "shard", "query", "SELECT nothing FROM products")
    assert wrong.returncode == 3
    assert "0 of 3 places have answered" in wrong.stderr
