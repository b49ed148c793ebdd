"""TY02: money is stored exactly.

Standard: §2.2 Standard Data Types
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, qualified, quoted
from cloudlab.standards.words import is_money

_FLOATS = {"real", "double precision"}


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for column in table.columns.values():
            is_float = column.base_type in _FLOATS and is_money(table.name, column.name, table.columns)
            if is_float or column.base_type == "money":
                why = "rounds to binary fractions" if is_float else "has no currency and depends on lc_monetary"
                yield Found(
                    f"{column.name} is {column.type}, which {why}",
                    column.at,
                    f"{table}.{column.name}",
                    f"ALTER TABLE {qualified(table)} ALTER COLUMN {quoted(column.name)} TYPE numeric(19,4); with the"
                    " currency beside it. It rewrites the table.",
                )


RULE = Rule(
    id="TY02",
    title="Money is stored exactly",
    heading="§2.2 Standard Data Types",
    level=Level.ERROR,
    why="0.1 + 0.2 is not 0.3 in a float: sums of amounts drift and do not balance. The type money has no currency, and"
    " its decimals are those of a setting of the server.",
    remedy="numeric(19,4) and currency char(3).",
    bad=(
        "CREATE TABLE products (price double precision);",
        "CREATE TABLE payments (amount real NOT NULL);",
        "CREATE TABLE wages (wage money);",
        "CREATE TABLE orders (currency char(3), total float8);",
    ),
    good=(
        "CREATE TABLE products (price numeric(19,4), currency char(3));",
        "CREATE TABLE products (price_weight double precision, score real);",
        "CREATE TABLE plans (query_cost double precision, total real);",
        "CREATE TABLE orders (tax_rate double precision, amount_cents bigint);",
    ),
    schema=_check,
)
