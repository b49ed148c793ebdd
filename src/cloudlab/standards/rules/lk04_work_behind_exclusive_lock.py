"""LK04: nothing long happens in a transaction that keeps everybody from a table.

Standard: §6.2 Schema Changes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.facts import EXCLUSIVE, changes
from cloudlab.standards.rule import Found, Level, Rule, Step

_LONG = ("UpdateStmt", "DeleteStmt", "InsertStmt", "IndexStmt", "SelectStmt")


def _check(step: Step) -> Iterator[Found]:
    if step.statement.kind not in _LONG or _is_small(step):
        return
    for earlier in step.together():
        held = [one for one in changes(Step(step.catalog, earlier, step.script)) if one.fact.lock == EXCLUSIVE]
        if held:
            yield step.found(
                f"runs while {held[0].table} is locked against everybody, by line {earlier.at.line} of the same "
                f"transaction",
                name=held[0].table,
            )
            return


def _is_small(step: Step) -> bool:
    """Whether it cannot last: no rows of a table in use are touched."""
    node = step.statement.node
    if isinstance(node, pb.SelectStmt):
        return not node.from_clause
    if isinstance(node, pb.InsertStmt):
        return not node.select_stmt.select_stmt.from_clause
    if isinstance(node, pb.IndexStmt | pb.UpdateStmt | pb.DeleteStmt):
        return step.is_new(step.table(node.relation))
    return False


RULE = Rule(
    id="LK04",
    title="Nothing long happens behind an exclusive lock",
    heading="§6.2 Schema Changes",
    level=Level.WARNING,
    why="ACCESS EXCLUSIVE is kept until the transaction ends: whatever follows keeps every reader of that table "
    "waiting.",
    remedy="Put the change of the schema and the work on its rows into two files.",
    bad=(
        "BEGIN; ALTER TABLE users ADD COLUMN a integer; UPDATE users SET a = 1 WHERE a IS NULL; COMMIT;",
        "BEGIN; ALTER TABLE users ADD COLUMN a integer; INSERT INTO log SELECT * FROM users; COMMIT;",
        "-- migrate:up\nALTER TABLE users DROP COLUMN b;\nCREATE INDEX i ON users (a);\n-- migrate:down\nSELECT 1;",
    ),
    good=(
        "ALTER TABLE users ADD COLUMN a integer; UPDATE users SET a = 1 WHERE a IS NULL;",
        "BEGIN; CREATE TABLE users (a integer PRIMARY KEY); INSERT INTO users SELECT * FROM old; COMMIT;",
        "BEGIN; ALTER TABLE users ADD COLUMN a integer; INSERT INTO kinds (name) VALUES ('x'); COMMIT;",
        "BEGIN; ALTER TABLE users ADD COLUMN a integer; COMMENT ON COLUMN users.a IS 'The age'; COMMIT;",
        "BEGIN; ALTER TABLE users ADD COLUMN a integer; SELECT set_config('a.b', 'c', true); COMMIT;",
    ),
    step=_check,
    on=frozenset(_LONG),
)
