"""TY04: a fixed set of values is an ENUM, or has a CHECK.

Standard: §2.2 Standard Data Types
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Column, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import checks_of, foreign_columns, is_text, owned, qualified, quoted

_FIXED = re.compile(r"(\w+_)?status|(\w+_)?state|payment_method|severity|priority|gender|visibility|(\w+_)?role")
_OPEN = re.compile(
    r"(http|response|address|billing|shipping|region|us|home|mailing|remote|external|raw|session|oauth)_\w+"
)
# What has an address has states of a country.
_ADDRESS = frozenset({"city", "zip", "country", "postal_code", "zip_code", "zipcode", "country_code"})


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        refers = foreign_columns(table) | set(table.primary_key.columns if table.primary_key else ())
        for column in table.columns.values():
            if column.name in refers or not _is_fixed(table, column) or any(checks_of(table, column.name)):
                continue
            name = quoted(column.name)
            yield Found(
                f"{column.name} is {column.type}: any text is a {column.name}",
                column.at,
                f"{table}.{column.name}",
                f"ALTER TABLE {qualified(table)} ADD CONSTRAINT chk_{table.name}_{column.name} CHECK ({name} IN (…))"
                " NOT VALID; then VALIDATE it. Or an ENUM.",
            )


def _is_fixed(table: Table, column: Column) -> bool:
    is_state_of_country = column.name.endswith("state") and _ADDRESS & table.columns.keys()
    is_named_so = _FIXED.fullmatch(column.name) and not _OPEN.fullmatch(column.name)
    return bool(is_named_so and is_text(column) and not is_state_of_country and not column.generated)


RULE = Rule(
    id="TY04",
    title="A fixed set of values is an ENUM, or has a CHECK",
    heading="§2.2 Standard Data Types",
    level=Level.NOTE,
    why="A typing error becomes a state that no code knows: the order is neither open nor closed, and no report has"
    " it.",
    remedy="CREATE TYPE … AS ENUM, or CHECK (status IN (…)).",
    bad=(
        "CREATE TABLE orders (status varchar(50) NOT NULL DEFAULT 'draft');",
        "CREATE TABLE payments (payment_method text);",
        "CREATE TABLE jobs (job_status character varying); ALTER TABLE jobs ADD COLUMN job text;",
    ),
    good=(
        "CREATE TYPE order_status AS ENUM ('draft'); CREATE TABLE orders (status order_status NOT NULL);",
        "CREATE TABLE orders (status text CHECK (status IN ('draft', 'paid')));",
        "CREATE TABLE addresses (city text, state text);",
        "CREATE TABLE statuses (status text PRIMARY KEY); CREATE TABLE o (status text REFERENCES statuses);",
        "CREATE TABLE calls (http_status text, status integer, event_type text);",
    ),
    schema=_check,
)
