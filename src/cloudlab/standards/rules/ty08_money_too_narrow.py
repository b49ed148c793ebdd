"""TY08: an amount fits every currency, and says which.

Standard: §2.2 Standard Data Types
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Column, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import listed, owned, qualified, quoted
from cloudlab.standards.words import is_money, tokens

_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_DECIMALS, _DIGITS = 3, 13


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        amounts = [
            column
            for column in table.columns.values()
            if column.type.startswith("numeric") and is_money(table.name, column.name, table.columns)
        ]
        narrow = [column for column in amounts if _is_narrow(column)]
        says = any("currency" in tokens(name) for name in table.columns)
        if narrow or (amounts and not says and not _refers(table)):
            column = (narrow or amounts)[0]
            problems = (
                [f"{listed([one.name for one in narrow])}: {column.type} does not hold every currency"]
                if narrow
                else []
            )
            problems += [] if says else [f"no currency beside {listed([one.name for one in amounts])}"]
            yield Found(
                "; ".join(problems),
                column.at,
                str(table),
                f"ALTER TABLE {qualified(table)} ALTER COLUMN {quoted(column.name)} TYPE numeric(19,4);"
                " and currency char(3) beside it.",
            )


def _refers(table: Table) -> bool:
    """Whether another table, which it is a part of, can say the currency."""
    return any(table.of_kind("f"))


def _is_narrow(column: Column) -> bool:
    found = _NUMERIC.fullmatch(column.type)
    return bool(found) and (int(found[2]) < _DECIMALS or int(found[1]) - int(found[2]) < _DIGITS)


RULE = Rule(
    id="TY08",
    title="An amount fits every currency, and says which",
    heading="§2.2 Standard Data Types",
    level=Level.NOTE,
    why="The dinar has three decimals, a unit price more; a total in rupiah or dong overflows numeric(10,2). An amount"
    " without its currency is added up with those of others.",
    remedy="numeric(19,4) and currency char(3).",
    bad=(
        "CREATE TABLE products (price numeric(10,2) NOT NULL);",
        "CREATE TABLE orders (total_amount decimal(10,2), currency char(3));",
        "CREATE TABLE payments (amount numeric(19,4));",
    ),
    good=(
        "CREATE TABLE products (price numeric(19,4), currency char(3));",
        "CREATE TABLE orders (o uuid PRIMARY KEY, currency char(3), total numeric(19,4));"
        " CREATE TABLE order_items (o uuid REFERENCES orders, price numeric(19,4));",
        "CREATE TABLE parcels (weight numeric(8,3), rating numeric(3,2));",
        "CREATE TABLE orders (amount_cents bigint, tax_rate numeric(5,4));",
    ),
    schema=_check,
)
