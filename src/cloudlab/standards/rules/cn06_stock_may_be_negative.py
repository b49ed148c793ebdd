"""CN06: the database refuses a negative stock.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import checks_of, owned, qualified, quoted

_STOCK = re.compile(
    r"(available|reserved|on_hand|stock)_?(quantity|qty|count|units)|(quantity|qty)_(on_hand|available)|stock|stock_level"
    r"|inventory_(count|quantity)|units_in_stock"
)
_NUMBERS = ("integer", "bigint", "smallint", "numeric")


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for column in table.columns.values():
            is_stock = _STOCK.fullmatch(column.name) and column.type.startswith(_NUMBERS)
            if is_stock and not any(checks_of(table, column.name)):
                name = quoted(column.name)
                yield Found(
                    f"nothing keeps {column.name} from being negative",
                    column.at,
                    f"{table}.{column.name}",
                    f"ALTER TABLE {qualified(table)} ADD CONSTRAINT chk_{table.name}_{column.name}_not_negative"
                    f" CHECK ({name} >= 0) NOT VALID; then VALIDATE it.",
                )


RULE = Rule(
    id="CN06",
    title="The database refuses a negative stock",
    heading="§3.1 Strong Consistency (CP from CAP)",
    level=Level.WARNING,
    why="Where the count of updated rows is not looked at, 800 of 800 orders were accepted for 100 items; the check is"
    " what no code path can forget.",
    remedy="CHECK (available_quantity >= 0).",
    bad=(
        "CREATE TABLE products (available_quantity integer NOT NULL);",
        "CREATE TABLE inventory (stock bigint DEFAULT 0);",
        "CREATE TABLE products (p uuid); ALTER TABLE products ADD COLUMN stock_quantity integer;",
    ),
    good=(
        "CREATE TABLE products (available_quantity integer NOT NULL CHECK (available_quantity >= 0));",
        "CREATE TABLE order_items (quantity integer NOT NULL, unit_count integer);",
        "CREATE TABLE products (in_stock boolean, stock text);",
        "CREATE TABLE i (stock int, backorder int, CONSTRAINT c CHECK (stock >= -backorder));",
    ),
    schema=_check,
)
