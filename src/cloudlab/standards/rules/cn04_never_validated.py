"""CN04: what was added NOT VALID is validated.

Standard: §6.2 Schema Changes
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import qualified, quoted


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.tables.values():
        for constraint in table.constraints.values():
            if not constraint.validated and table.is_table:
                yield Found(
                    f"{constraint.name} is NOT VALID: rows from before may break it",
                    constraint.at,
                    f"{table}.{constraint.name}",
                    f"ALTER TABLE {qualified(table)} VALIDATE CONSTRAINT {quoted(constraint.name)};",
                )


RULE = Rule(
    id="CN04",
    title="What was added NOT VALID is validated",
    heading="§6.2 Schema Changes",
    level=Level.WARNING,
    why="It holds for new rows alone: the planner does not trust it, SET NOT NULL cannot use it as its proof, and an"
    " update of an old row fails for a column that nobody touched.",
    remedy="ALTER TABLE … VALIDATE CONSTRAINT …; it blocks neither reads nor writes.",
    bad=(
        "CREATE TABLE u (a int); ALTER TABLE u ADD CONSTRAINT chk_u_a CHECK (a > 0) NOT VALID;",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid);"
        " ALTER TABLE o ADD CONSTRAINT fk_o_u FOREIGN KEY (u) REFERENCES u NOT VALID;",
        "CREATE TABLE u (a int); ALTER TABLE u ADD CONSTRAINT c CHECK (a > 0) NOT VALID;"
        " ALTER TABLE u ADD CONSTRAINT d CHECK (a < 9) NOT VALID; ALTER TABLE u VALIDATE CONSTRAINT d;",
    ),
    good=(
        "CREATE TABLE u (a int); ALTER TABLE u ADD CONSTRAINT c CHECK (a > 0) NOT VALID;"
        " ALTER TABLE u VALIDATE CONSTRAINT c;",
        "CREATE TABLE u (a int CHECK (a > 0));",
        "CREATE TABLE u (a int); ALTER TABLE u ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE u DROP"
        " CONSTRAINT c;",
    ),
    mends=True,
    schema=_check,
)
