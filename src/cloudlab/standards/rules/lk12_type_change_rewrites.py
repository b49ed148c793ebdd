"""LK12: a change of type that rewrites is done by a new column.

Standard: §6.2 Schema Changes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import type_name
from cloudlab.standards.facts import CHANGES, changes
from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    for change in changes(step):
        if change.fact.form.startswith("type, ") and change.fact.rewrites and change.command is not None:
            table = step.table(node.relation) if isinstance(node, pb.AlterTableStmt) else None
            column = table.columns.get(change.command.name) if table else None
            old = column.type if column else "its type"
            new = type_name(getattr(change.command, "def").column_def.type_name)
            yield step.found(
                f"writes all of {change.table} anew to make {old} into {new}, while nobody can read it",
                name=change.command.name,
                remedy=_IN_UTC if change.fact.form == "type, timestamp to timestamptz" else "",
            )


_IN_UTC = "SET timezone = 'UTC'; before it: what was stored is UTC then, and nothing is written. Or a new column."


_BEFORE = (
    "CREATE TABLE t (a integer PRIMARY KEY, b varchar(10), n numeric(10,2), ts timestamptz(3), c text);\n-- next file\n"
)

RULE = Rule(
    id="LK12",
    title="A change of type does not rewrite the table",
    heading="§6.2 Schema Changes",
    level=Level.ERROR,
    why="Most changes of type write every row anew under ACCESS EXCLUSIVE. Free are a longer varchar, varchar to "
    "text, more "
    "digits before the point of a numeric, and a finer timestamp.",
    remedy="Add a column of the new type, keep both in step by a trigger, fill it in batches, then switch.",
    good=(
        f"{_BEFORE}ALTER TABLE t ALTER COLUMN b TYPE varchar(20);",
        f"{_BEFORE}ALTER TABLE t ALTER COLUMN b TYPE text;",
        f"{_BEFORE}ALTER TABLE t ALTER COLUMN b TYPE text USING b::text;",
        f"{_BEFORE}SET timezone = 'UTC'; ALTER TABLE t ALTER COLUMN ts TYPE timestamp USING ts;",
        f"{_BEFORE}ALTER TABLE t ALTER COLUMN n TYPE numeric(14,2);",
        f"{_BEFORE}ALTER TABLE t ALTER COLUMN ts TYPE timestamptz;",
        f"{_BEFORE}ALTER TABLE t ALTER COLUMN c TYPE varchar;",
        "CREATE TABLE t (a integer PRIMARY KEY); ALTER TABLE t ALTER COLUMN a TYPE bigint;",
        "ALTER TABLE unknown ALTER COLUMN a TYPE bigint;",
        "ALTER TABLE unknown ALTER COLUMN a SET DEFAULT 1;",
    ),
    bad=(
        f"{_BEFORE}ALTER TABLE t ALTER COLUMN ts TYPE timestamp;",
        f"{_BEFORE}ALTER TABLE t ALTER COLUMN a TYPE bigint;",
        f"{_BEFORE}ALTER TABLE t ALTER COLUMN b TYPE varchar(5);",
        f"{_BEFORE}ALTER TABLE t ALTER COLUMN n TYPE numeric(12,4);",
        f"{_BEFORE}ALTER TABLE t ALTER COLUMN c TYPE varchar(50);",
        f"{_BEFORE}ALTER TABLE t ALTER COLUMN b TYPE text USING lower(b);",
    ),
    step=_check,
    on=CHANGES,
)
