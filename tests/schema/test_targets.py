"""A whole installation is migrated in one go, place by place."""

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.errors import MigrationError, NotFound
from cloudlab.schema import migrate, targets
from cloudlab.schema.files import Tree, load_tree
from cloudlab.schema.history import State
from cloudlab.schema.places import find_targets
from fixtures.fingerprint import fingerprint

NAMES = [
    "control",
    "shard:us_east_001",
    "shard:eu_west_001",
    "tenant:us_east_001/shop",
    "tenant:eu_west_001/shop",
    "clickhouse",
]


async def test_a_bare_installation_is_migrated_once(bare_config: Config):
    seen: list[str] = []
    planned = await targets.migrate_all(await find_targets(bare_config), dry_run=True)
    assert {State.PENDING} == {
        one.state for place in await targets.status_all(await find_targets(bare_config)) for one in place.migrations
    }
    results = await targets.migrate_all(
        await find_targets(bare_config), progress=lambda target, applied: seen.append(target.name)
    )
    assert [result.target.name for result in results] == NAMES
    for result, plan in zip(results, planned, strict=True):
        files = result.target.files
        assert [one.version for one in result.applied] == [one.version for one in plan.applied]
        assert [one.version for one in result.applied] == [file.version for file in files]
    assert list(dict.fromkeys(seen)) == NAMES
    assert not any(result.applied for result in await targets.migrate_all(await find_targets(bare_config)))
    await targets.verify_all(await find_targets(bare_config))


async def test_tenant_schemas_are_read_from_the_shard(config: Config):
    owner_url = config.shards[0].urls.owner_url
    await migrate.up(owner_url, load_tree(Tree.TENANT), "tenant_acme", to=1)
    with psycopg.connect(owner_url) as conn:
        for name, schema in (("acme", "tenant_acme"), ("bits", "shop"), ("gone", "tenant_gone")):
            conn.execute(
                "INSERT INTO cloudlab.tenant_local (tenant_id, tenant_name, schema_name)"
                " VALUES (gen_random_uuid(), %s, %s)",
                [name, schema],
            )
    tenants = ["tenant:us_east_001/shop", "tenant:us_east_001/tenant_acme", "tenant:eu_west_001/shop"]
    assert [target.name for target in await find_targets(config, "tenant")] == tenants
    results = {
        result.target.name: len(result.applied) for result in await targets.migrate_all(await find_targets(config))
    }
    assert results["tenant:us_east_001/tenant_acme"] == len(load_tree(Tree.TENANT)) - 1
    assert sum(results.values()) == results["tenant:us_east_001/tenant_acme"]
    shop, acme = (
        sorted(line.replace("tenant_acme", "shop") for line in fingerprint(owner_url, schema))
        for schema in ("shop", "tenant_acme")
    )
    assert shop == acme


@pytest.mark.parametrize(
    ("only", "names"),
    [
        (None, NAMES),
        ("control", ["control"]),
        ("shard", NAMES[1:3]),
        ("shard:eu_west_001", ["shard:eu_west_001"]),
        ("tenant", NAMES[3:5]),
        ("tenant:eu_west_001", ["tenant:eu_west_001/shop"]),
        ("tenant:eu_west_001/shop", ["tenant:eu_west_001/shop"]),
        ("clickhouse", ["clickhouse"]),
    ],
)
async def test_places_are_named(bare_config: Config, only: str | None, names: list[str]):
    assert [target.name for target in await find_targets(bare_config, only)] == names


@pytest.mark.parametrize("only", ["shards", "shard:eu", "tenant:us_east_001/nobody", ""])
async def test_an_unknown_place_is_refused(bare_config: Config, only: str):
    with pytest.raises(NotFound, match=f"no target '{only}'"):
        await find_targets(bare_config, only)


async def test_a_version_belongs_to_one_tree(bare_config: Config):
    with pytest.raises(MigrationError, match="version 001 is something else in each tree"):
        await targets.migrate_all(await find_targets(bare_config), to=1)
    results = await targets.migrate_all(await find_targets(bare_config, "shard"), to=1)
    assert [[one.version for one in result.applied] for result in results] == [["001"], ["001"]]


async def test_revert_takes_back_in_every_place_of_the_tree(config: Config):
    last = load_tree(Tree.TENANT)[-1].version
    results = await targets.revert(await find_targets(config, "tenant"))
    assert [[one.version for one in result.applied] for result in results] == [[last], [last]]
    with pytest.raises(MigrationError, match=f"{last} is pending"):
        await targets.verify_all(await find_targets(config))
    await targets.migrate_all(await find_targets(config))
    await targets.verify_all(await find_targets(config))


async def test_no_place_repeats_a_secret(config: Config):
    assert "not-a-secret" not in repr(await find_targets(config))
