"""IX04: a partial index does not index the one value that its condition lets in.

Standard: §5.1 Partial Indexes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog, Index
from cloudlab.standards.expressions import columns
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, quoted

_MOSTLY_NULL = frozenset(
    {"deleted_at", "archived_at", "removed_at", "discarded_at", "deleted_on", "is_deleted", "deleted"}
)


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for index in table.indexes.values():
            column = index.columns[0] if len(index.columns) == 1 else None
            if column and column in _MOSTLY_NULL and not index.unique and _is_fixed(index, column):
                yield Found(
                    f"{index.name} holds one value of {column} for nearly every row: it finds nothing",
                    index.at,
                    f"{table}.{index.name}",
                    f"DROP INDEX CONCURRENTLY {quoted(index.name)}; and put WHERE {_condition(index)} on the indexes"
                    " that"
                    " queries look rows up by.",
                )


def _is_fixed(index: Index, column: str) -> bool:
    """Whether the condition is of this column alone, and says that it is null, false or equal to something."""
    tree = index.predicate.tree if index.predicate else None
    if tree is None or set(columns(tree)) != {column}:
        return False
    node = getattr(tree, tree.WhichOneof("node") or "") if isinstance(tree, pb.Node) else tree
    if isinstance(node, pb.NullTest):
        return node.nulltesttype == pb.IS_NULL
    if isinstance(node, pb.BoolExpr):
        return node.boolop == pb.NOT_EXPR
    return isinstance(node, pb.A_Expr) and node.name[-1].string.sval == "="


def _condition(index: Index) -> str:
    return index.predicate.text.strip("()") if index.predicate else ""


RULE = Rule(
    id="IX04",
    title="A partial index does not index the value its condition fixes",
    heading="§5.1 Partial Indexes",
    level=Level.WARNING,
    why="An index on deleted_at WHERE deleted_at IS NULL holds nothing but NULLs, one for each living row: it is as"
    " large"
    " as the table needs and finds no row faster.",
    remedy="Index what queries look rows up by, with the condition: (email) WHERE deleted_at IS NULL.",
    bad=(
        "CREATE TABLE u (deleted_at date); CREATE INDEX i ON u (deleted_at) WHERE deleted_at IS NULL;",
        "CREATE TABLE u (is_deleted boolean); CREATE INDEX i ON u (is_deleted) WHERE NOT is_deleted;",
        "CREATE TABLE u (deleted boolean); CREATE INDEX i ON u (deleted) WHERE deleted = false;",
    ),
    good=(
        "CREATE TABLE u (email text, deleted_at date); CREATE UNIQUE INDEX i ON u (email) WHERE deleted_at IS NULL;",
        "CREATE TABLE u (deleted_at date); CREATE INDEX i ON u (deleted_at) WHERE deleted_at IS NOT NULL;",
        "CREATE TABLE j (done_at date); CREATE INDEX i ON j (done_at) WHERE done_at IS NULL;",
        "CREATE TABLE u (u int, deleted_at date); CREATE INDEX i ON u (u, deleted_at) WHERE deleted_at IS NULL;",
    ),
    schema=_check,
)
