"""Folding indexes: their keys as a server says them, and the names that PostgreSQL chooses."""

from collections.abc import Container

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Expression, Index, Place
from cloudlab.standards.expressions import deparsed, function_name, strings

_LONGEST = 63


def index_of(node: pb.IndexStmt, at: Place, taken: Container[str] = ()) -> Index:
    """Return the index that a statement makes; `taken` are names that are in use."""
    keys = [one.index_elem for one in node.index_params]
    return Index(
        node.idxname or free("_".join([node.relation.relname, *map(_word, keys), "idx"])[:_LONGEST], taken),
        tuple(key.name or None for key in keys),
        unique=node.unique,
        predicate=Expression(_tree=node.where_clause) if node.HasField("where_clause") else None,
        method=node.access_method or "btree",
        include=tuple(one.index_elem.name for one in node.index_including_params),
        expressions=tuple(deparsed(key.expr) for key in keys if key.HasField("expr")),
        options=tuple(map(_key_options, keys)),
        at=at,
    )


def _word(key: pb.IndexElem) -> str:
    """Return what a key is called in the name of an index without one."""
    return key.name or (function_name(key.expr.func_call) if key.expr.HasField("func_call") else "expr")


def free(name: str, taken: Container[str]) -> str:
    """Return a name, or the first with a number after it that is not taken."""
    number, found = 0, name
    while found in taken:
        number += 1
        found = f"{name[: _LONGEST - len(str(number))]}{number}"
    return found


def _key_options(key: pb.IndexElem) -> str:
    """Say what of a key is not the default: nulls are last when it ascends and first when it descends."""
    descends = key.ordering == pb.SORTBY_DESC
    nulls = {pb.SORTBY_NULLS_FIRST: "nulls first", pb.SORTBY_NULLS_LAST: "nulls last"}.get(key.nulls_ordering, "")
    is_usual = nulls == ("nulls first" if descends else "nulls last")
    collation = f"collate {strings(key.collation)[-1]}" if key.collation else ""
    operators = strings(key.opclass)[-1] if key.opclass else ""
    return " ".join(filter(None, ("desc" if descends else "", "" if is_usual else nulls, operators, collation)))
