"""CloudLab's own databases pass the rules it holds others to.

Standard: §11.1 Design Principles
"""

import asyncio

import pytest

from cloudlab.standards import checking, reading
from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rules import every
from fixtures.postgres import TEMPLATES, Cluster

FAMILIES = ("NM", "TY", "CN", "CM", "PK", "FK", "TS", "IX", "PT", "EV", "SG", "RT")
# Right, and waiting for the migrations to be mended; the list only shrinks.
KNOWN = {
    *(("CM02", name) for name in (
        "event_snapshots.state", "inventory.product_id", "inventory_updates.product_id", "order_items.order_id",
        "parked_events.event_position", "parked_events.event_type", "payment_webhooks.provider", "payments.provider",
        "projection_checkpoints.projection_name", "projection_workers.projection_name", "tenant_local.tenant_id",
        "user_profiles.user_id", "vendors.vendor_name",
    )),
    ("RT02", "products.uq_products_sku"),
    ("TY01", "event_archives"),
    ("TY04", "payment_webhooks.status"),
}  # fmt: skip


@pytest.mark.parametrize("tree", TEMPLATES)
def test_the_platforms_own_databases_have_no_finding(migrated: Cluster, tree: str):
    async def read(url: str) -> Catalog:
        async with reading.connect(url) as conn:
            return await reading.read_schema(conn)

    with migrated.database(tree, TEMPLATES[tree]) as name:
        catalog = asyncio.run(read(migrated.url(name, "postgres")))
    rules = [rule for rule in every() if rule.id.startswith(FAMILIES)]
    found = {
        (finding.rule.id, finding.found.name.split(".", 1)[-1]): finding.found.message
        for finding in checking.of_schema(catalog, rules)
    }
    assert {key: message for key, message in found.items() if key not in KNOWN} == {}
