"""FK03: what the law and the books need is not deleted along with something else.

Standard: §2.3 Foreign Key Standards
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, qualified

_CRITICAL = re.compile(r"(orders|payments|invoices|refunds|payouts|payment_transactions|ledger_entries|audit_logs?)$")
_OWNERS = re.compile(r"(tenant|organi[sz]ation|account|workspace|team|project|compan(y|ie))s?$")


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for key in table.of_kind("f"):
            to = key.referenced[1] if key.referenced else ""
            if key.on_delete == "cascade" and _CRITICAL.fullmatch(table.name) and not _OWNERS.search(to):
                yield Found(
                    f"deleting one of {to} deletes its {table.name}",
                    key.at,
                    f"{table}.{key.name}",
                    f"DROP and ADD CONSTRAINT {key.name} on {qualified(table)} with ON DELETE RESTRICT.",
                )


RULE = Rule(
    id="FK03",
    title="Orders, payments and books are not deleted by a cascade",
    heading="§2.3 Foreign Key Standards",
    level=Level.WARNING,
    why="A cascade asks nobody: one deleted user takes along what must be kept for years.",
    remedy="ON DELETE RESTRICT; take the person out of the row instead.",
    bad=(
        "CREATE TABLE users (u uuid PRIMARY KEY); CREATE TABLE orders (u uuid REFERENCES users ON DELETE CASCADE);",
        "CREATE TABLE orders (o uuid PRIMARY KEY);"
        " CREATE TABLE payments (o uuid NOT NULL REFERENCES orders ON DELETE CASCADE);",
        "CREATE TABLE users (u uuid PRIMARY KEY); CREATE TABLE invoices (u uuid);"
        " ALTER TABLE invoices ADD FOREIGN KEY (u) REFERENCES users ON DELETE CASCADE;",
    ),
    good=(
        "CREATE TABLE users (u uuid PRIMARY KEY); CREATE TABLE orders (u uuid REFERENCES users ON DELETE RESTRICT);",
        "CREATE TABLE orders (o uuid PRIMARY KEY);"
        " CREATE TABLE order_items (o uuid REFERENCES orders ON DELETE CASCADE);",
        "CREATE TABLE tenants (t uuid PRIMARY KEY); CREATE TABLE orders (t uuid REFERENCES tenants ON DELETE CASCADE);",
    ),
    schema=_check,
)
