"""BF03: the default for new rows is set before the old ones are filled.

Standard: §6.2 Adding Columns
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Step
from cloudlab.standards.scripts import Statement


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if not isinstance(node, pb.AlterTableStmt) or step.is_new(step.table(node.relation)):
        return
    for each in node.cmds:
        command = each.alter_table_cmd
        if command.subtype != pb.AT_ColumnDefault or not getattr(command, "def").WhichOneof("node"):
            continue
        for earlier in step.earlier:
            update = earlier.node
            if not isinstance(update, pb.UpdateStmt) or update.relation.relname != node.relation.relname:
                continue
            if any(one.res_target.name == command.name for one in update.target_list) and not _is_locked(step, earlier):
                yield step.found(
                    f"rows written between line {earlier.at.line} and this one have no {command.name}",
                    name=command.name,
                )
                return


def _is_locked(step: Step, update: Statement) -> bool:
    """Whether nobody can write in between: the same transaction has altered the table before it filled it."""
    node = step.statement.node
    if not isinstance(node, pb.AlterTableStmt):
        return False
    for earlier in step.earlier.of_kind("AlterTableStmt"):
        before = earlier.node
        is_same = isinstance(before, pb.AlterTableStmt) and before.relation.relname == node.relation.relname
        together = earlier.transaction == step.statement.transaction
        is_one = step.statement.transaction is not None or step.script.is_sent_whole
        if is_same and together and is_one and earlier.offset < update.offset:
            return True
    return False


RULE = Rule(
    id="BF03",
    title="The default is set before the backfill",
    heading="§6.2 Adding Columns",
    level=Level.ERROR,
    why="Rows written after the UPDATE and before SET DEFAULT keep NULL, and SET NOT NULL then fails.",
    remedy="ADD COLUMN … DEFAULT, or SET DEFAULT first, then fill the old rows.",
    bad=(
        "ALTER TABLE u ADD COLUMN a integer; UPDATE u SET a = 1 WHERE id < 9; ALTER TABLE u ALTER COLUMN a SET "
        "DEFAULT 1;",
        "UPDATE u SET a = 1 WHERE a IS NULL; ALTER TABLE u ALTER a SET NOT NULL, ALTER a SET DEFAULT 1;",
        "UPDATE u SET b = 2, a = 1; ALTER TABLE u ALTER a SET DEFAULT 1;",
    ),
    good=(
        "ALTER TABLE u ALTER COLUMN a SET DEFAULT 1; UPDATE u SET a = 1 WHERE a IS NULL;",
        "UPDATE u SET b = 1 WHERE b IS NULL; ALTER TABLE u ALTER COLUMN a SET DEFAULT 1;",
        "UPDATE u SET a = 1 WHERE a IS NULL; ALTER TABLE u ALTER COLUMN a DROP DEFAULT;",
        "BEGIN; ALTER TABLE u ADD COLUMN a integer; UPDATE u SET a = 1; ALTER TABLE u ALTER a SET DEFAULT 1; COMMIT;",
    ),
    step=_check,
    on=frozenset({"AlterTableStmt"}),
)
