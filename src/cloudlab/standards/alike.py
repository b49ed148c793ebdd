"""Whether two expressions say the same, written by hand or by a server, which adds casts and brackets of its own.

Standard: §6.1 Migration Tracking
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Expression
from cloudlab.standards.expressions import literal, strings

# Where something stood, and how a call was spelt.
_IGNORED = {"location", "list_start", "list_end", "rexpr_list_start", "rexpr_list_end", "funcformat", "name_location"}
_BY_NAME = {pb.AEXPR_OP, pb.AEXPR_LIKE, pb.AEXPR_ILIKE}


def normal(expression: Expression | None) -> str:
    """Return one text for all ways to write an expression; casts, brackets and schemas of names are left out."""
    if expression is None:
        return ""
    tree = expression.tree
    return expression.text if tree is None else _one(tree)


def _one(node: Message) -> str:
    if isinstance(node, pb.Node):
        which = node.WhichOneof("node")
        return _one(getattr(node, which)) if which else ""
    handler = _HANDLERS.get(type(node).__name__)
    return handler(node) if handler else _generic(node)


def _generic(node: Message, but_not: Iterable[str] = ()) -> str:
    skipped = _IGNORED.union(but_not)
    parts = [f"{field.name}:{_value(value)}" for field, value in node.ListFields() if field.name not in skipped]
    return f"{type(node).__name__}({' '.join(parts)})"


def _value(value: Any) -> str:  # noqa: ANN401  whatever a field holds
    if isinstance(value, Message):
        return _one(value)
    if isinstance(value, str | int | float | bool | bytes):
        return str(value)
    return _listed(value)


def _listed(values: Iterable[Any]) -> str:
    return f"[{', '.join(map(_value, values))}]"


def _constant(node: pb.A_Const) -> str:
    value = literal(pb.Node(a_const=node))
    return "null" if value is None else f"'{value}'"


def _operation(node: pb.A_Expr) -> str:
    name = strings(node.name)[-1] if node.name else ""
    left, right = _one(node.lexpr), node.rexpr
    if node.kind in {pb.AEXPR_IN, pb.AEXPR_OP_ANY, pb.AEXPR_OP_ALL}:
        every = node.kind == pb.AEXPR_OP_ALL or (node.kind == pb.AEXPR_IN and name == "<>")
        return f"({left} {name} {'all' if every else 'any'} {_members(right)})"
    if node.kind in {pb.AEXPR_BETWEEN, pb.AEXPR_NOT_BETWEEN}:
        low, high = (_one(item) for item in right.list.items)
        if node.kind == pb.AEXPR_BETWEEN:
            return _joined("and", [f"({left} >= {low})", f"({left} <= {high})"])
        return _joined("or", [f"({left} < {low})", f"({left} > {high})"])
    kind = "" if node.kind in _BY_NAME else f"{node.kind} "
    return f"({left} {kind}{name} {_one(right)})"


def _members(node: pb.Node) -> str:
    if node.HasField("type_cast"):
        return _members(node.type_cast.arg)
    if node.HasField("list"):
        return _listed(node.list.items)
    return _listed(node.a_array_expr.elements) if node.HasField("a_array_expr") else _one(node)


def _boolean(node: pb.BoolExpr) -> str:
    if node.boolop == pb.NOT_EXPR:
        return f"not {_one(node.args[0])}"
    return _joined(
        "and" if node.boolop == pb.AND_EXPR else "or", [one for arg in node.args for one in _flat(node, arg)]
    )


def _flat(outer: pb.BoolExpr, argument: pb.Node) -> list[str]:
    inner = argument.bool_expr
    if argument.HasField("bool_expr") and inner.boolop == outer.boolop != pb.NOT_EXPR:
        return [one for each in inner.args for one in _flat(outer, each)]
    text = _one(argument)
    word = " and " if outer.boolop == pb.AND_EXPR else " or "
    # What BETWEEN became is of the same kind.
    return text[1:-1].split(word) if argument.a_expr.kind == pb.AEXPR_BETWEEN and word == " and " else [text]


def _call(node: pb.FuncCall) -> str:
    name = strings(node.funcname)[-1]
    arguments = _listed(node.args)
    # A server writes the schema of a sequence before its name.
    return name + (re.sub(r"\w+\.", "", arguments) if name == "nextval" else arguments)


def _joined(word: str, parts: list[str]) -> str:
    return f"({f' {word} '.join(parts)})"


_HANDLERS: dict[str, Callable[[Any], str]] = {
    "TypeCast": lambda node: _one(node.arg),
    "A_Const": _constant,
    "A_Expr": _operation,
    "BoolExpr": _boolean,
    "A_ArrayExpr": lambda node: _listed(node.elements),
    "ColumnRef": lambda node: strings(node.fields)[-1] if strings(node.fields) else "*",
    "FuncCall": _call,
    "ResTarget": lambda node: _one(node.val),
    "RangeVar": lambda node: node.relname,
    "CollateClause": lambda node: _one(node.arg),
}
