"""The SQL of the standards themselves: each of its errors that SQL shows is reported.

Standard: §11.2 Implementation Guidelines
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudlab.standards import checking
from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Finding
from cloudlab.standards.rules import every
from cloudlab.standards.scripts import Script

DOCUMENT = Path(__file__).resolve().parents[3] / "shared" / "database-design-standards.md"
FAMILIES = ("NM", "TY", "CN", "CM", "PK", "FK", "TS", "IX", "PT", "EV", "SG", "RT", "CP07")

# What is wrong in the document, where its SQL shows it: heading, rule, and a word of the finding.
ERRATA = {
    "money of two decimals that overflows": ("Primary Key Standards", "TY08", "total_amount"),
    "no currency beside an amount": ("Primary Key Standards", "TY08", "no currency"),
    "twins of one address": ("Column Constraints", "CN07", "Ada@acme.test"),
    "o'neil cannot register": ("Column Constraints", "CN08", "o'neil"),
    "a check that changes with the day": ("Column Constraints", "CN03", "CURRENT_DATE"),
    "random keys": ("Primary Key Standards", "PK07", "gen_random_uuid"),
    "amounts as JSON numbers": ("Event Examples", "EV04", "99.99"),
    "versions of a stream are not unique": ("Event Store Schema", "EV01", "event_version"),
    "events without an order": ("Event Store Schema", "EV02", "one order"),
    "no state for a saga that was undone": ("Saga State Management", "SG01", "undone"),
    "twin steps": ("Saga State Management", "SG02", "step_number"),
    "schema names in any case": ("Tenant Configuration", "NM06", "Tenant_001"),
    "an index that UNIQUE is already": ("Primary Indexes", "IX01", "idx_users_email"),
    "an index that is the begin of another": ("Primary Indexes", "IX01", "idx_orders_user_id"),
    "the same, of products": ("Primary Indexes", "IX01", "idx_products_vendor_id"),
    "the same, of events": ("Primary Indexes", "IX01", "idx_events_aggregate_type"),
    "the primary key under a condition": ("Partial Indexes", "IX08", "idx_users_active"),
    "again, of orders": ("Partial Indexes", "IX08", "idx_orders_pending"),
    "partitioned events without a key": ("Time-Based Partitioning", "PK01", "events"),
    "two fixed months": ("Time-Based Partitioning", "PT01", "events_2025_02"),
    "indexes of single partitions": ("Time-Based Partitioning", "PT03", "idx_events_2025_01_aggregate_id"),
    "hashed users without a key": ("Hash-Based Partitioning", "PK01", "users"),
    "archive_old_data() destroys what hangs on orders": ("Business Rule Compliance", "RT03", "orders_archive"),
    "an index of nothing but NULLs": ("Soft Deletion", "IX04", "idx_users_deleted_at"),
}
# The document names these tables and shows no CREATE TABLE for them.
NAMED_ONLY = """
    CREATE TABLE products (product_id uuid PRIMARY KEY, vendor_id uuid, status text);
    CREATE TABLE order_items (order_item_id uuid PRIMARY KEY, order_id uuid, product_id uuid);
    CREATE TABLE analytics_events (created_at timestamptz); CREATE TABLE application_logs (created_at timestamptz);
"""


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """Yield the heading and the text of each block of SQL."""
    heading = ""
    for found in re.finditer(r"^#+ ([^\n]*)$|^```sql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if found[1]:
            heading = found[1]
        else:
            yield heading, found[2]


def judged(text: str) -> dict[str, list[Finding]]:
    """Judge the schema as it is after each block, and the queries of the block; by heading."""
    catalog = Catalog()
    rules = [rule for rule in every() if rule.id.startswith(FAMILIES)]
    list(checking.of_migrations([Script("named", NAMED_ONLY)], catalog, rules))
    found: dict[str, list[Finding]] = {}
    for number, (heading, sql) in enumerate(blocks(text), 1):
        script = Script(heading, sql, number)
        findings = found.setdefault(heading, [])
        findings += checking.of_migrations([script], catalog, rules)
        findings += checking.of_schema(catalog, rules)
        findings += checking.of_queries([one for one in script.statements if not one.problem], catalog, rules)
    return found


@pytest.fixture(scope="module")
def findings() -> dict[str, list[Finding]]:
    if not DOCUMENT.exists():
        pytest.skip(f"the standards are not here: {DOCUMENT}")
    return judged(DOCUMENT.read_text())


@pytest.mark.parametrize("erratum", ERRATA)
def test_an_erratum_of_the_standards_is_reported(findings: dict[str, list[Finding]], erratum: str):
    heading, rule_id, word = ERRATA[erratum]
    of_rule = [finding for finding in findings[heading] if finding.rule.id == rule_id]
    said = [f"{finding.found.name} {finding.found.message}" for finding in of_rule]
    assert any(word in text for text in said), said


def test_blocks_are_found_with_their_headings():
    text = "## One\n\n```sql\nSELECT 1;\n```\ntext\n### Two\n```ini\nx\n```\n```sql\nSELECT 2;\nSELECT 3;\n```\n"
    assert list(blocks(text)) == [("One", "SELECT 1;\n"), ("Two", "SELECT 2;\nSELECT 3;\n")]
