"""LK09: a constraint is validated in another transaction than the one that adds it.

Standard: §6.2 Schema Changes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.facts import changes
from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if not isinstance(node, pb.AlterTableStmt) or step.is_new(step.table(node.relation)):
        return
    for each in node.cmds:
        if each.alter_table_cmd.subtype != pb.AT_ValidateConstraint:
            continue
        for earlier in step.together():
            held = changes(Step(step.catalog, earlier, step.script))
            if any(one.table == node.relation.relname and one.fact.blocks_writes for one in held):
                yield step.found(
                    f"reads all of {node.relation.relname} under the lock that line {earlier.at.line} has taken",
                    name=each.alter_table_cmd.name,
                )
                return


RULE = Rule(
    id="LK09",
    title="VALIDATE has a transaction of its own",
    heading="§6.2 Schema Changes",
    level=Level.ERROR,
    why="NOT VALID is worth nothing when the same transaction validates: the lock of ADD CONSTRAINT is kept until "
    "COMMIT.",
    remedy="Put VALIDATE CONSTRAINT into the next file.",
    bad=(
        "BEGIN; ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT c; COMMIT;",
        "-- migrate:up\nALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u NOT VALID;\n"
        "ALTER TABLE t VALIDATE CONSTRAINT f;\n-- migrate:down\nSELECT 1;",
        "BEGIN; ALTER TABLE t ADD COLUMN b integer; ALTER TABLE t VALIDATE CONSTRAINT c; COMMIT;",
    ),
    good=(
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT c;",
        "BEGIN; ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; COMMIT; ALTER TABLE t VALIDATE CONSTRAINT c;",
        "BEGIN; CREATE TABLE t (a integer PRIMARY KEY); ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;"
        " ALTER TABLE t VALIDATE CONSTRAINT c; COMMIT;",
        "BEGIN; ALTER TABLE u ADD COLUMN b integer; ALTER TABLE t VALIDATE CONSTRAINT c; COMMIT;",
    ),
    step=_check,
    on=frozenset({"AlterTableStmt"}),
)
