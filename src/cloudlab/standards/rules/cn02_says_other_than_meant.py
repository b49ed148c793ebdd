"""CN02: a default and a check do what they say.

Standard: §2.2 Column Constraints
"""

import re
from collections.abc import Iterator

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog, Column, Constraint
from cloudlab.standards.expressions import literal, strings
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import is_text, owned, qualified, quoted

_COMPARES = {"=", "<>", "!=", "<", ">", "<=", ">="}


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for column in table.columns.values():
            if problem := _default(column):
                sets = f"ALTER TABLE {qualified(table)} ALTER COLUMN {quoted(column.name)}"
                instead = "SET DEFAULT now();" if "moment" in problem else "DROP DEFAULT;"
                yield Found(problem, column.at, f"{table}.{column.name}", f"{sets} {instead}")
        for check in table.of_kind("c"):
            if _never_refuses(check):
                yield Found(
                    "a comparison with NULL is never false: the check accepts everything",
                    check.at,
                    f"{table}.{check.name}",
                    "IS NULL, IS NOT NULL, or the list without NULL.",
                )


def _default(column: Column) -> str:
    if column.default is None or column.default.tree is None:
        return ""
    tree = column.default.tree
    text = literal(tree) if isinstance(tree, pb.Node) else None
    if text is None:
        return ""
    if text.lower() == "null" and is_text(column):
        return f"the default is the text {text!r}, which is not NULL"
    if column.type.startswith(("timestamp", "date")) and re.match(r"now\b|today$|current_", text.lower()):
        return f"the default {text!r} is the moment at which the table was made, for ever"
    return ""


def _never_refuses(check: Constraint) -> bool:
    """Whether the whole check is one comparison with NULL, or one list with a NULL in it."""
    node = check.check.tree if check.check else None
    if isinstance(node, pb.Node):
        node = getattr(node, node.WhichOneof("node") or "", None)
    if not isinstance(node, pb.A_Expr):
        return False
    name = (strings(node.name) or ("",))[-1]
    if node.kind == pb.AEXPR_OP and name in _COMPARES:
        return _is_null(node.lexpr) or _is_null(node.rexpr)
    members = node.rexpr.list.items if node.kind == pb.AEXPR_IN else node.rexpr.a_array_expr.elements
    return name == "=" and node.kind in {pb.AEXPR_IN, pb.AEXPR_OP_ANY} and any(map(_is_null, members))


def _is_null(node: Message) -> bool:
    if isinstance(node, pb.Node) and node.HasField("type_cast"):
        return _is_null(node.type_cast.arg)
    return isinstance(node, pb.Node) and node.HasField("a_const") and node.a_const.isnull


RULE = Rule(
    id="CN02",
    title="A default and a check do what they say",
    heading="§2.2 Column Constraints",
    level=Level.ERROR,
    why="'NULL' in quotes is a text of four letters. 'now()' in quotes is read once, when the table is made. A"
    " comparison"
    " with NULL is unknown, and a check refuses only what is false.",
    remedy="Take the quotes away; IS NULL; a list without NULL.",
    bad=(
        "CREATE TABLE u (name text DEFAULT 'NULL');",
        "CREATE TABLE u (created_at timestamptz DEFAULT 'now()');",
        "CREATE TABLE u (a int CHECK (a <> NULL));",
        "CREATE TABLE u (status text CHECK (status IN ('draft', 'paid', NULL)));",
    ),
    good=(
        "CREATE TABLE u (name text DEFAULT NULL, created_at timestamptz DEFAULT now());",
        "CREATE TABLE u (name text DEFAULT '', since date DEFAULT '2020-01-01');",
        "CREATE TABLE u (a int CHECK (a IS NOT NULL), b int CHECK (b = 1 OR b IS NULL));",
        "CREATE TABLE u (status text CHECK (status IN ('draft', 'paid')));",
        "CREATE TABLE u (hint text DEFAULT 'now()');",
    ),
    mends=True,
    schema=_check,
)
