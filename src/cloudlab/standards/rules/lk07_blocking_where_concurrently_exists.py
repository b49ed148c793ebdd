"""LK07: indexes are dropped and rebuilt, views refreshed and partitions detached concurrently.

Standard: §6.2 Adding Indexes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.facts import changes
from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if isinstance(node, pb.DropStmt) and node.remove_type == pb.OBJECT_INDEX:
        for change in changes(step):
            yield step.found(f"waits for every reader of {change.table}, and stops those behind it", name=change.table)
    elif isinstance(node, pb.AlterTableStmt):
        yield from _detach(step, node)
    elif message := _blocks(step, node):
        yield step.found(message)


def _blocks(step: Step, node: object) -> str:
    if isinstance(node, pb.ReindexStmt):
        concurrently = any(one.def_elem.defname == "concurrently" for one in node.params)
        new = concurrently or step.is_new(step.table(node.relation))
        return "" if new else "stops every write while it rebuilds, and every read by that index"
    if isinstance(node, pb.RefreshMatViewStmt):
        new = node.concurrent or node.skip_data or step.is_new(step.table(node.relation))
        return "" if new else f"keeps every reader from {node.relation.relname} while its query runs"
    if isinstance(node, pb.VacuumStmt) and any(one.def_elem.defname == "full" for one in node.options):
        return "VACUUM FULL rewrites the table while nobody can read it"
    if isinstance(node, pb.ClusterStmt) and node.HasField("relation"):
        return f"CLUSTER rewrites {node.relation.relname} while nobody can read it"
    return ""


def _detach(step: Step, node: pb.AlterTableStmt) -> Iterator[Found]:
    for each in node.cmds:
        command = each.alter_table_cmd
        if command.subtype != pb.AT_DetachPartition or step.is_new(step.table(node.relation)):
            continue
        if not getattr(command, "def").partition_cmd.concurrent:
            yield step.found(f"locks {node.relation.relname} and the partition against everybody")


RULE = Rule(
    id="LK07",
    title="What can be done concurrently is",
    heading="§6.2 Adding Indexes",
    level=Level.WARNING,
    why="DROP INDEX, REINDEX, REFRESH and DETACH take ACCESS EXCLUSIVE on what others read; with CONCURRENTLY they "
    "do not. "
    "VACUUM FULL and CLUSTER know no other way.",
    remedy="Say CONCURRENTLY, in a file without a transaction; instead of VACUUM FULL, rewrite the table online.",
    bad=(
        "DROP INDEX idx_users_age;",
        "REINDEX INDEX idx_users_age;",
        "REFRESH MATERIALIZED VIEW totals;",
        "VACUUM FULL users;",
        "ALTER TABLE events DETACH PARTITION events_2020;",
        "CLUSTER users USING pk_users;",
    ),
    good=(
        "DROP INDEX CONCURRENTLY idx_users_age;",
        "REINDEX INDEX CONCURRENTLY idx_users_age;",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY totals;",
        "VACUUM users;",
        "ALTER TABLE events DETACH PARTITION events_2020 CONCURRENTLY;",
        "CREATE TABLE users (a integer PRIMARY KEY); CREATE INDEX i ON users (a); DROP INDEX i;",
        "CREATE MATERIALIZED VIEW totals AS SELECT 1 AS a; REFRESH MATERIALIZED VIEW totals;",
    ),
    step=_check,
    on=frozenset({"DropStmt", "AlterTableStmt", "ReindexStmt", "RefreshMatViewStmt", "VacuumStmt", "ClusterStmt"}),
)
