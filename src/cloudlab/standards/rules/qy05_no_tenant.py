"""QY05: a query on a table that tenants share says which tenant it is for.

Standard: §4.1 Tenant Isolation Strategies
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import columns
from cloudlab.standards.rule import Found, Level, Query, Rule
from cloudlab.standards.tenancy import COLUMN, is_shared
from cloudlab.standards.trees import tables


def _check(query: Query) -> Iterator[Found]:
    tree = query.statement.node
    if tree is None or (isinstance(tree, pb.InsertStmt) and not tree.select_stmt.select_stmt.from_clause):
        return
    if COLUMN in columns(tree) or COLUMN in query.statement.text:
        return
    for table in tables(tree, query.catalog):
        if is_shared(table) and not table.row_security and not table.is_opaque:
            yield query.found(
                f"reads or changes {table} without tenant_id: rows of every tenant",
                name=str(table),
                remedy="AND tenant_id = $1;",
            )
            return


RULE = Rule(
    id="QY05",
    title="A query says which tenant it is for",
    heading="§4.1 Tenant Isolation Strategies",
    level=Level.WARNING,
    why="Where no policy does it, each statement must name the tenant; one that does not is a leak, and cannot use an "
    "index that begins with tenant_id.",
    remedy="Add tenant_id to the WHERE, or row-level security to the table.",
    bad=(
        "CREATE TABLE o (tenant_id uuid, id bigint PRIMARY KEY, a integer); SELECT a FROM o WHERE id = $1",
        "CREATE TABLE o (tenant_id uuid, id bigint PRIMARY KEY, a integer); UPDATE o SET a = 1 WHERE id = $1",
        "CREATE TABLE o (tenant_id uuid, id bigint PRIMARY KEY); CREATE TABLE c (o_id bigint);"
        " SELECT o.id FROM c JOIN o ON o.id = c.o_id",
    ),
    good=(
        "CREATE TABLE o (tenant_id uuid, id bigint PRIMARY KEY); SELECT id FROM o WHERE tenant_id = $1 AND id = $2",
        "CREATE TABLE o (tenant_id uuid, id bigint PRIMARY KEY); ALTER TABLE o ENABLE ROW LEVEL SECURITY;"
        " SELECT id FROM o WHERE id = $1",
        "CREATE TABLE o (id bigint PRIMARY KEY); SELECT id FROM o WHERE id = $1",
        "CREATE TABLE o (tenant_id uuid, id bigint PRIMARY KEY); INSERT INTO o VALUES ($1, $2)",
        "CREATE TABLE tenants (tenant_id uuid PRIMARY KEY, name text); SELECT name FROM tenants WHERE name = $1",
    ),
    query=_check,
)
