"""LK10: SET NOT NULL follows a validated CHECK that proves it.

Standard: §6.2 Adding Columns
"""

from collections.abc import Iterator

from cloudlab.standards.facts import CHANGES, changes
from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    for change in changes(step):
        if change.fact.form == "set not null" and change.command is not None:
            column = change.command.name or "the column"
            check = f"chk_{change.table}_{column}_not_null"
            yield step.found(
                f"reads all of {change.table} for a NULL in {column} while everybody waits",
                name=column,
                remedy=f"ALTER TABLE {change.table} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID; "
                f"then "
                f"VALIDATE CONSTRAINT {check}; then SET NOT NULL; then DROP CONSTRAINT {check};",
            )


RULE = Rule(
    id="LK10",
    title="SET NOT NULL is proven by a CHECK first",
    heading="§6.2 Adding Columns",
    level=Level.ERROR,
    why="SET NOT NULL looks at every row under ACCESS EXCLUSIVE, unless a validated CHECK says already that none "
    "is NULL.",
    remedy="ADD CHECK (… IS NOT NULL) NOT VALID, VALIDATE it, SET NOT NULL, drop the CHECK.",
    bad=(
        "ALTER TABLE users ALTER COLUMN age SET NOT NULL;",
        "ALTER TABLE users ADD CONSTRAINT c CHECK (age IS NOT NULL) NOT VALID; ALTER TABLE users ALTER age SET NOT "
        "NULL;",
        "ALTER TABLE users ADD CONSTRAINT c CHECK (name IS NOT NULL); ALTER TABLE users ALTER age SET NOT NULL;",
    ),
    good=(
        "CREATE TABLE u (a integer PRIMARY KEY, b integer);\n-- next file\n"
        "ALTER TABLE u ADD CONSTRAINT c CHECK (b IS NOT NULL) NOT VALID;\n-- next file\n"
        "ALTER TABLE u VALIDATE CONSTRAINT c; ALTER TABLE u ALTER COLUMN b SET NOT NULL;",
        "CREATE TABLE users (age integer PRIMARY KEY, b integer); ALTER TABLE users ALTER COLUMN b SET NOT NULL;",
        "ALTER TABLE users DROP COLUMN age;",
        "ALTER TABLE users ALTER COLUMN age DROP NOT NULL;",
    ),
    step=_check,
    on=CHANGES,
)
