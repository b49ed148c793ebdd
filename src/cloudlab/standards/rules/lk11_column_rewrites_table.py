"""LK11: a new column does not rewrite a table in use.

Standard: §6.2 Adding Columns
"""

from collections.abc import Iterator

from cloudlab.standards.facts import CHANGES, changes
from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    for change in changes(step):
        if change.fact.form.startswith("add column") and change.fact.rewrites and change.command is not None:
            column = getattr(change.command, "def").column_def.colname
            why = change.fact.form.partition(", ")[2]
            yield step.found(
                f"writes all of {change.table} anew while nobody can read it ({why})",
                name=column,
                remedy=f"ALTER TABLE {change.table} ADD COLUMN {column} without it; set the default for new rows; "
                f"fill the "
                "old ones in batches.",
            )


RULE = Rule(
    id="LK11",
    title="A new column does not rewrite the table",
    heading="§6.2 Adding Columns",
    level=Level.ERROR,
    why="A default that is another in each row (volatile, serial, identity) or a stored generated column must be "
    "written into "
    "every row, under ACCESS EXCLUSIVE. A constant, and now(), are kept once for all.",
    remedy="Add the column without default, set the default, fill old rows in batches.",
    bad=(
        "ALTER TABLE users ADD COLUMN token uuid DEFAULT gen_random_uuid();",
        "ALTER TABLE users ADD COLUMN n serial;",
        "ALTER TABLE users ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY;",
        "ALTER TABLE users ADD COLUMN n integer GENERATED ALWAYS AS (a + 1) STORED;",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';"
        " ALTER TABLE users ADD COLUMN n integer DEFAULT f();",
    ),
    good=(
        "ALTER TABLE users ADD COLUMN age integer NOT NULL DEFAULT 0;",
        "ALTER TABLE users ADD COLUMN at timestamptz NOT NULL DEFAULT now();",
        "ALTER TABLE users ADD COLUMN token uuid; ALTER TABLE users ALTER COLUMN token SET DEFAULT gen_random_uuid();",
        "CREATE TABLE users (a integer PRIMARY KEY); ALTER TABLE users ADD COLUMN token uuid DEFAULT "
        "gen_random_uuid();",
        "ALTER TABLE users ADD COLUMN n integer GENERATED ALWAYS AS (a + 1) VIRTUAL;",
    ),
    step=_check,
    on=CHANGES,
)
