"""LK06: CONCURRENTLY stands outside of transactions and not on a partitioned table.

Standard: §6.2 Adding Indexes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if step.statement.transaction is not None and _is_concurrent(node):
        yield step.found("cannot run inside of a transaction")
    if isinstance(node, pb.IndexStmt) and node.concurrent:
        table = step.table(node.relation)
        if table and table.kind == "partitioned" and node.relation.inh:
            yield step.found(
                f"CONCURRENTLY is refused on {table}, which is partitioned",
                name=node.idxname,
                remedy="CREATE INDEX ON ONLY the parent, CREATE INDEX CONCURRENTLY on each partition, ATTACH them.",
            )


def _is_concurrent(node: object) -> bool:
    if isinstance(node, pb.IndexStmt | pb.DropStmt | pb.RefreshMatViewStmt):
        return node.concurrent
    if isinstance(node, pb.ReindexStmt):
        return any(one.def_elem.defname == "concurrently" for one in node.params)
    if isinstance(node, pb.AlterTableStmt):
        return any(
            one.alter_table_cmd.subtype == pb.AT_DetachPartition
            and getattr(one.alter_table_cmd, "def").partition_cmd.concurrent
            for one in node.cmds
        )
    return False


RULE = Rule(
    id="LK06",
    title="CONCURRENTLY stands where it can run",
    heading="§6.2 Adding Indexes",
    level=Level.ERROR,
    why="PostgreSQL refuses CREATE INDEX CONCURRENTLY and its like inside of a transaction, and on a partitioned "
    "table.",
    remedy="Put it into a file of its own that runs without a transaction: `-- migrate:up transaction:false`.",
    bad=(
        "BEGIN; CREATE INDEX CONCURRENTLY i ON users (a); COMMIT;",
        "-- migrate:up\nDROP INDEX CONCURRENTLY i;\n-- migrate:down\nSELECT 1;",
        "CREATE TABLE e (id bigint PRIMARY KEY) PARTITION BY RANGE (id); CREATE INDEX CONCURRENTLY i ON e (id);",
        "BEGIN; ALTER TABLE e DETACH PARTITION e1 CONCURRENTLY; COMMIT;",
    ),
    good=(
        "CREATE INDEX CONCURRENTLY i ON users (a);",
        "-- migrate:up transaction:false\nCREATE INDEX CONCURRENTLY i ON users (a);\n-- migrate:down\nSELECT 1;",
        "BEGIN; CREATE INDEX i ON users (a); COMMIT; DROP INDEX CONCURRENTLY j;",
        "-- +goose NO TRANSACTION\n-- +goose Up\nCREATE INDEX CONCURRENTLY i ON users (a);\n-- +goose Down\nSELECT 1;",
    ),
    step=_check,
    on=frozenset({"AlterTableStmt", "DropStmt", "IndexStmt", "RefreshMatViewStmt", "ReindexStmt"}),
)
