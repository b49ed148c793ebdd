"""Expressions and names inside of statements, as PostgreSQL's own parser sees them."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import postgast
from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards.walking import walk

_SHORT = {
    "bool": "boolean",
    "int2": "smallint",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "varchar": "character varying",
    "bpchar": "character",
    "char": "character",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "timetz": "time with time zone",
    "time": "time without time zone",
    "decimal": "numeric",
    "varbit": "bit varying",
}


# Of an interval: bits of its fields, as PostgreSQL keeps them.
_FIELDS = {
    4: " year", 2: " month", 8: " day", 1024: " hour", 2048: " minute", 4096: " second", 6: " year to month",
    1032: " day to hour", 3080: " day to minute", 7176: " day to second", 3072: " hour to minute",
    7168: " hour to second", 6144: " minute to second",
}  # fmt: skip


@lru_cache(maxsize=4096)
def expression(text: str) -> Message | None:
    """Parse an expression that stands by itself; None when it does not."""
    try:
        select = postgast.parse(f"SELECT {text}").stmts[0].stmt.select_stmt
    except postgast.PgQueryError:
        return None
    return select.target_list[0].res_target.val if len(select.target_list) == 1 else None


def deparsed(tree: Message) -> str:
    """Write an expression out."""
    result = postgast.parse("SELECT 1")
    target = result.stmts[0].stmt.select_stmt.target_list[0].res_target
    target.val.CopyFrom(tree if isinstance(tree, pb.Node) else _wrapped(tree))
    return postgast.deparse(result).removeprefix("SELECT ")


def _wrapped(tree: Message) -> pb.Node:
    """Put a message into the node that a list of nodes has it in."""
    node = pb.Node()
    for choice in pb.Node.DESCRIPTOR.oneofs[0].fields:
        if choice.message_type is tree.DESCRIPTOR:
            getattr(node, choice.name).CopyFrom(tree)
    return node


def strings(nodes: Sequence[pb.Node]) -> tuple[str, ...]:
    """Return the words of a qualified name."""
    return tuple(node.string.sval for node in nodes if node.HasField("string"))


def function_name(call: pb.FuncCall) -> str:
    """Return the name of a called function without its schema."""
    return strings(call.funcname)[-1]


def calls(tree: Message) -> Iterator[pb.FuncCall]:
    """Yield every function called anywhere in a tree."""
    for node in walk(tree):
        if isinstance(node, pb.FuncCall):
            yield node


def columns(tree: Message) -> Iterator[str]:
    """Yield the name of every column that a tree refers to, without its table."""
    for node in walk(tree):
        if isinstance(node, pb.ColumnRef) and (names := strings(node.fields)):
            yield names[-1]


def literal(node: pb.Node) -> str | None:
    """Return a constant as text, whatever its type; None for NULL and for what is no constant."""
    if node.HasField("type_cast"):
        return literal(node.type_cast.arg)
    if not node.HasField("a_const") or node.a_const.isnull:
        return None
    constant = node.a_const
    which = constant.WhichOneof("val")
    if which == "sval":
        return constant.sval.sval
    if which == "ival":
        return str(constant.ival.ival)
    if which == "fval":
        return constant.fval.fval
    return str(constant.boolval.boolval).lower() if which == "boolval" else None


def constants(tree: Message) -> Iterator[str]:
    """Yield every string written anywhere in a tree."""
    for node in walk(tree):
        if isinstance(node, pb.A_Const) and node.WhichOneof("val") == "sval":
            yield node.sval.sval


def operations(tree: Message) -> Iterator[tuple[str, pb.A_Expr]]:
    """Yield every operation anywhere in a tree with the name of its operator."""
    for node in walk(tree):
        if isinstance(node, pb.A_Expr) and node.name:
            yield strings(node.name)[-1], node


def type_name(node: pb.TypeName) -> str:
    """Return a type as format_type() writes it."""
    names = strings(node.names)
    name = names[-1] if names else ""
    if len(names) > 1 and names[0] != "pg_catalog":
        name = ".".join(names)
    # "char" in quotes is another type than char, which the parser calls bpchar.
    base = '"char"' if name == "char" and len(names) == 1 else _SHORT.get(name, name)
    modifiers = [text for text in map(literal, node.typmods) if text is not None]
    if modifiers and name == "interval":
        base += _FIELDS.get(int(modifiers[0]), "")
        modifiers = modifiers[1:]
    if modifiers:
        head, _, tail = base.partition(" with")
        joined = ",".join(modifiers)
        base = f"{head}({joined}) with{tail}" if tail else f"{base}({joined})"
    return base + "[]" * len(node.array_bounds)


def option_value(option: pb.DefElem) -> str:
    """Return an option as text; one without a value is true."""
    argument = option.arg
    if not argument.WhichOneof("node"):
        return "true"
    if argument.HasField("string"):
        return argument.string.sval
    if argument.HasField("type_name"):  # a bare word
        return strings(argument.type_name.names)[-1]
    if argument.HasField("boolean"):
        return str(argument.boolean.boolval).lower()
    number = argument.integer.ival if argument.HasField("integer") else argument.float.fval
    return str(number) if argument.HasField("integer") or argument.HasField("float") else literal(argument) or ""
