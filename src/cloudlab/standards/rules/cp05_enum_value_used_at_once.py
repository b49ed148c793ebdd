"""CP05: a new enum value is used in a later transaction only.

Standard: §2.2 Standard Data Types
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Step
from cloudlab.standards.walking import walk


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if node is None or isinstance(node, pb.AlterEnumStmt | pb.CommentStmt):
        return
    added = {
        one.node.new_val
        for one in step.earlier.of_kind("AlterEnumStmt")
        if one.transaction is not None
        and one.transaction == step.statement.transaction
        and isinstance(one.node, pb.AlterEnumStmt)
        and not one.node.old_val
        and not _is_new_type(step, one.node)
    }
    if not added:
        return
    for inner in walk(node):
        if isinstance(inner, pb.A_Const) and inner.sval.sval in added:
            yield step.found(f"uses '{inner.sval.sval}', which was added in the same transaction", name=inner.sval.sval)
            return


def _is_new_type(step: Step, node: pb.AlterEnumStmt) -> bool:
    name = node.type_name[-1].string.sval
    return any(one.born == step.script.number for key, one in step.catalog.enums.items() if key[1] == name)


RULE = Rule(
    id="CP05",
    title="A new enum value is used in a later transaction",
    heading="§2.2 Standard Data Types",
    level=Level.ERROR,
    why="PostgreSQL refuses a value in the transaction that added it to an existing type (55P04).",
    remedy="Add the value in a file of its own, use it in the next.",
    bad=(
        "BEGIN; ALTER TYPE mood ADD VALUE 'so'; UPDATE people SET mood = 'so' WHERE id = 1; COMMIT;",
        "-- migrate:up\nALTER TYPE mood ADD VALUE 'so' BEFORE 'bad';\nALTER TABLE p ALTER mood SET DEFAULT 'so';\n"
        "-- migrate:down\nSELECT 1;",
        "BEGIN; ALTER TYPE mood ADD VALUE 'so'; INSERT INTO people (mood) VALUES ('so'); COMMIT;",
    ),
    good=(
        "ALTER TYPE mood ADD VALUE 'so'; UPDATE people SET mood = 'so' WHERE id = 1;",
        "BEGIN; CREATE TYPE mood AS ENUM ('good'); ALTER TYPE mood ADD VALUE 'so'; CREATE TABLE p (id bigint "
        "PRIMARY KEY,"
        " mood mood DEFAULT 'so'); COMMIT;",
        "BEGIN; ALTER TYPE mood ADD VALUE 'so'; UPDATE people SET mood = 'good' WHERE id = 1; COMMIT;",
        "BEGIN; ALTER TYPE mood ADD VALUE 'so'; COMMIT; UPDATE people SET mood = 'so' WHERE id = 1;",
    ),
    step=_check,
)
