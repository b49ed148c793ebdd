"""What the rules about queries ask of a statement."""

from collections.abc import Iterator, Sequence

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog, Column, Table
from cloudlab.standards.expressions import strings
from cloudlab.standards.rule import Query


def selects(query: Query) -> Iterator[pb.SelectStmt]:
    """Yield every SELECT of a statement, the outermost first."""
    return (node for node in query.nodes() if isinstance(node, pb.SelectStmt))


def sources(nodes: Sequence[pb.Node]) -> Iterator[pb.RangeVar]:
    """Yield the relations that stand in a FROM, joined or not, not those of its subqueries."""
    for node in nodes:
        if node.HasField("range_var"):
            yield node.range_var
        elif node.HasField("join_expr"):
            yield from sources([node.join_expr.larg, node.join_expr.rarg])


def known_tables(nodes: Sequence[pb.Node], catalog: Catalog) -> dict[str, Table]:
    """Return the tables of a FROM that the model knows, by the names they have in the statement."""
    found: dict[str, Table] = {}
    for relation in sources(nodes):
        table = catalog.find(relation.schemaname, relation.relname)
        if table:
            found[relation.alias.aliasname or relation.relname] = table
    return found


def column_of(node: pb.Node, tables: dict[str, Table]) -> tuple[Table, Column] | None:
    """Return the column that an expression is, when it is one and no other can be meant."""
    if not node.HasField("column_ref"):
        return None
    names = strings(node.column_ref.fields)
    if not names:
        return None
    *before, name = names
    candidates = [tables[before[-1]]] if before and before[-1] in tables else list(tables.values())
    found = [(table, table.columns[name]) for table in candidates if name in table.columns]
    return found[0] if len(found) == 1 else None


def conjuncts(node: pb.Node) -> Iterator[pb.Node]:
    """Yield the conditions that must all hold."""
    if node.HasField("bool_expr") and node.bool_expr.boolop == pb.AND_EXPR:
        for one in node.bool_expr.args:
            yield from conjuncts(one)
    elif node.WhichOneof("node"):
        yield node


def operator(node: pb.Node) -> str:
    """Return the operator of a condition, empty when it has none."""
    return strings(node.a_expr.name)[-1] if node.HasField("a_expr") and node.a_expr.name else ""


def is_indexed_first(table: Table, name: str) -> bool:
    """Whether an index begins with a column."""
    return any(index.columns[:1] == (name,) for index in table.indexes.values())
