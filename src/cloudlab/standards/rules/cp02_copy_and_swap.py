"""CP02: a table is not replaced by a copy with its name.

Standard: §6.2 Schema Changes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if not isinstance(node, pb.RenameStmt) or node.rename_type != pb.OBJECT_TABLE:
        return
    table = step.table(node.relation)
    if not step.is_new(table):
        return
    for earlier in step.earlier:
        gone = earlier.node
        if not isinstance(gone, pb.RenameStmt) or gone.rename_type != pb.OBJECT_TABLE:
            continue
        if gone.relation.relname == node.newname:
            yield step.found(
                f"puts {node.relation.relname} in the place of {node.newname}: rows written since the copy are "
                f"lost, foreign "
                f"keys and views stay on the old table, and its policies, grants and triggers are gone",
                name=node.newname,
            )
            return


RULE = Rule(
    id="CP02",
    title="A table is not replaced by a copy with its name",
    heading="§6.2 Schema Changes",
    level=Level.ERROR,
    why="With one writer, 357 of 2,629 acknowledged updates were lost between the copy and the swap; foreign keys "
    "and views "
    "follow the old table, and LIKE copies no policy, grant, trigger or foreign key.",
    remedy="Change the table in place, or rewrite it online: copy by a trigger, repoint what refers to it, then swap.",
    bad=(
        "CREATE TABLE users_new (LIKE users INCLUDING ALL); INSERT INTO users_new SELECT * FROM users;"
        " ALTER TABLE users RENAME TO users_old; ALTER TABLE users_new RENAME TO users;",
        "CREATE TABLE b AS SELECT * FROM a; ALTER TABLE a RENAME TO a_old; ALTER TABLE b RENAME TO a;",
        "BEGIN; CREATE TABLE t2 (id bigint PRIMARY KEY); ALTER TABLE t RENAME TO t1; ALTER TABLE t2 RENAME TO t; "
        "COMMIT;",
    ),
    good=(
        "ALTER TABLE users RENAME TO people;",
        "CREATE TABLE a (id bigint PRIMARY KEY); ALTER TABLE a RENAME TO b;",
        "ALTER TABLE users RENAME TO users_old; CREATE TABLE users (id bigint PRIMARY KEY);",
    ),
    step=_check,
    on=frozenset({"RenameStmt"}),
)
