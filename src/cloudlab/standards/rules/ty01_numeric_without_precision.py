"""TY01: numeric says how many digits.

Standard: §2.2 Standard Data Types
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import listed, owned, qualified, quoted


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        bare = [column.name for column in table.columns.values() if column.type == "numeric" and not column.generated]
        if bare:
            yield Found(
                f"{listed(bare)}: numeric without precision and scale",
                table.columns[bare[0]].at,
                str(table),
                f"ALTER TABLE {qualified(table)} ALTER COLUMN {quoted(bare[0])} TYPE numeric(19,4);",
            )


RULE = Rule(
    id="TY01",
    title="numeric says how many digits",
    heading="§2.2 Standard Data Types",
    level=Level.WARNING,
    why="Without a scale 0.1 / 3 is stored with all its digits, sums do not match what was shown, and a row may hold"
    " 131,072 digits.",
    remedy="numeric(19,4) for amounts, numeric(8,3) for measurements.",
    bad=(
        "CREATE TABLE p (price numeric NOT NULL);",
        "CREATE TABLE p (weight decimal);",
        "CREATE TABLE p (p uuid); ALTER TABLE p ADD COLUMN rating numeric;",
    ),
    good=(
        "CREATE TABLE p (price numeric(19,4) NOT NULL);",
        "CREATE TABLE p (total numeric(10));",
        "CREATE TABLE p (a numeric(9,2), b numeric(9,2), c numeric GENERATED ALWAYS AS (a * b) STORED);",
        "CREATE TEMP TABLE p (price numeric);",
        "CREATE VIEW v AS SELECT sum(1) AS total;",
    ),
    schema=_check,
)
