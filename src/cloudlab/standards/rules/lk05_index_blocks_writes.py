"""LK05: an index on a table in use is built concurrently.

Standard: §6.2 Adding Indexes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if not isinstance(node, pb.IndexStmt) or node.concurrent:
        return
    table = step.table(node.relation)
    if step.is_new(table) or not node.relation.inh:  # ON ONLY a partitioned table builds nothing
        return
    if table and table.kind == "partitioned":
        yield step.found(
            f"builds an index on every partition of {table} while nobody can write to them",
            name=node.idxname,
            remedy="CREATE INDEX ON ONLY the parent, CREATE INDEX CONCURRENTLY on each partition, ATTACH them.",
        )
    elif not (table and table.kind == "materialized view"):
        yield step.found(
            f"keeps everybody from writing to {node.relation.relname} until the index is built",
            name=node.idxname,
        )


RULE = Rule(
    id="LK05",
    title="An index on a table in use is built concurrently",
    heading="§6.2 Adding Indexes",
    level=Level.ERROR,
    why="CREATE INDEX takes SHARE on the table for as long as it builds: reads go on, every write waits.",
    remedy="CREATE INDEX CONCURRENTLY, in a file of its own without a transaction.",
    bad=(
        "CREATE INDEX idx_users_email ON users (email);",
        "CREATE UNIQUE INDEX uq_users_email ON users (email);",
        "ALTER TABLE users ADD COLUMN age integer; CREATE INDEX idx_users_age ON users (age);",
    ),
    good=(
        "CREATE INDEX CONCURRENTLY idx_users_email ON users (email);",
        "CREATE TABLE users (user_id uuid PRIMARY KEY, email text); CREATE INDEX idx_users_email ON users (email);",
        "CREATE TABLE e (id bigint PRIMARY KEY) PARTITION BY RANGE (id); CREATE INDEX idx_e_id ON ONLY e (id);",
        "CREATE TEMP TABLE t (a integer); CREATE INDEX idx_t_a ON t (a);",
    ),
    step=_check,
    on=frozenset({"IndexStmt"}),
)
