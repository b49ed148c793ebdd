"""CloudLab's own trees: up, down to nothing and up again give the same schema, on each supported server."""

import pytest

from cloudlab.schema import migrate
from cloudlab.schema.files import Tree, load_tree
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.schema.postgres import PLATFORM_SCHEMA
from fixtures.fingerprint import fingerprint
from fixtures.postgres import Cluster

PLACES = {Tree.CONTROL: [Tree.CONTROL], Tree.SHARD: [Tree.SHARD], Tree.TENANT: [Tree.SHARD, Tree.TENANT]}
SCHEMAS = {Tree.CONTROL: PLATFORM_SCHEMA, Tree.SHARD: PLATFORM_SCHEMA, Tree.TENANT: SHOP_SCHEMA}


@pytest.mark.parametrize("tree", PLACES)
async def test_every_migration_is_taken_back_without_a_trace(database: str, tree: Tree):
    """Each step down gives what was there before the step up."""
    files, schema = load_tree(tree), SCHEMAS[tree]
    for below in PLACES[tree][:-1]:
        await migrate.up(database, load_tree(below), SCHEMAS[below])
    await migrate.up(database, files, schema, to=1)
    await migrate.down(database, files, schema)
    schemas = (PLATFORM_SCHEMA, SHOP_SCHEMA, "archive")
    prints = [fingerprint(database, *schemas)]
    for file in files:
        await migrate.up(database, files, schema, to=file.number)
        prints.append(fingerprint(database, *schemas))
    for file in reversed(files):
        assert fingerprint(database, *schemas) == prints[file.number]
        await migrate.down(database, files, schema)
        assert fingerprint(database, *schemas) == prints[file.number - 1], f"{file.path.name} leaves something behind"
    await migrate.up(database, files, schema)
    assert fingerprint(database, *schemas) == prints[-1]


async def test_the_whole_goes_down_to_nothing_and_up_again(database: str):
    async def up() -> list[str]:
        await migrate.up(database, load_tree(Tree.SHARD), PLATFORM_SCHEMA)
        await migrate.up(database, load_tree(Tree.TENANT), SHOP_SCHEMA)
        await migrate.up(database, load_tree(Tree.TENANT), "tenant_acme")
        return fingerprint(database, PLATFORM_SCHEMA, SHOP_SCHEMA, "tenant_acme", "archive")

    full = await up()
    for tree, schema in ((Tree.TENANT, "tenant_acme"), (Tree.TENANT, SHOP_SCHEMA), (Tree.SHARD, PLATFORM_SCHEMA)):
        await migrate.down(database, load_tree(tree), schema, to=0)
    assert [line for line in fingerprint(database, SHOP_SCHEMA) if line.startswith("relation")] == [
        line
        for line in fingerprint(database, SHOP_SCHEMA)
        if line.startswith("relation") and "schema_migrations" in line
    ]
    assert await up() == full


async def test_the_tracking_table_is_the_platforms_alone(migrated: Cluster):
    """Application logins may neither read nor forge what was applied."""
    with migrated.database("shard", "shard_template") as name:
        lines = fingerprint(migrated.url(name), PLATFORM_SCHEMA, SHOP_SCHEMA)
    tracking = [line for line in lines if line.startswith("relation") and "schema_migrations" in line]
    assert len(tracking) == 2
    for line in tracking:
        assert "application_" not in line
        assert "platform_worker" not in line
