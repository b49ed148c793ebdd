"""TN06: what must be unique is unique in its tenant.

Standard: §4.1 Tenant Isolation Strategies
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.tenancy import COLUMN, shared_tables

# What is drawn at random or given by others is unique by itself.
_GLOBAL = re.compile(r"(uuid|guid|token|hash|digest|secret|nonce|key|_id|external|stripe|provider|fingerprint|idempot)")
_TEXT = ("character varying", "text", "citext", "character")
_TWO = 2


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in shared_tables(catalog):
        if not table.row_security and not _key_has_tenant(table):
            continue
        for name, columns in _unique(table):
            if COLUMN not in columns and all(_is_natural(table, one) for one in columns):
                listed = ", ".join(columns)
                yield Found(
                    f"{listed} of one tenant is refused because another has it, and tells that it does",
                    table.at,
                    f"{table}.{name}",
                    f"CREATE UNIQUE INDEX CONCURRENTLY ON {table} (tenant_id, {listed}); and drop {name}.",
                )


def _unique(table: Table) -> Iterator[tuple[str, tuple[str, ...]]]:
    for index in table.indexes.values():
        primary = table.primary_key and index.constraint == table.primary_key.name
        if index.unique and not primary and index.columns and all(index.columns):
            yield index.name, tuple(filter(None, index.columns))


def _key_has_tenant(table: Table) -> bool:
    key = table.primary_key
    return bool(key and COLUMN in key.columns and len(key.columns) >= _TWO)


def _is_natural(table: Table, name: str) -> bool:
    """Whether people choose the values of a column."""
    column = table.columns.get(name)
    return bool(column and column.base_type in _TEXT and not _GLOBAL.search(name))


RULE = Rule(
    id="TN06",
    title="What must be unique is unique in its tenant",
    heading="§4.1 Tenant Isolation Strategies",
    level=Level.WARNING,
    why="A unique constraint looks past row-level security: the order number, the SKU or the e-mail address of one "
    "tenant keeps another from using it, and the error tells that it is there.",
    remedy="UNIQUE (tenant_id, …).",
    bad=(
        "CREATE TABLE u (tenant_id uuid, user_id uuid PRIMARY KEY, email text UNIQUE);"
        " ALTER TABLE u ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE p (tenant_id uuid, product_id uuid, sku varchar(40), PRIMARY KEY (tenant_id, product_id));"
        " CREATE UNIQUE INDEX uq_p_sku ON p (sku);",
        "CREATE TABLE o (tenant_id uuid, order_number varchar(50), id bigint, PRIMARY KEY (tenant_id, id),"
        " CONSTRAINT uq_o UNIQUE (order_number));",
    ),
    good=(
        "CREATE TABLE u (tenant_id uuid, user_id uuid PRIMARY KEY, email text, UNIQUE (tenant_id, email));"
        " ALTER TABLE u ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE u (tenant_id uuid, user_id uuid PRIMARY KEY); ALTER TABLE u ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE s (tenant_id uuid, session_id uuid PRIMARY KEY, token_hash text UNIQUE);"
        " ALTER TABLE s ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE p (tenant_id uuid, id uuid, stripe_customer text UNIQUE, PRIMARY KEY (tenant_id, id));",
        "CREATE TABLE users (user_id uuid PRIMARY KEY, email text UNIQUE);",
    ),
    schema=_check,
)
