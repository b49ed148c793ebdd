"""What stands where in a tree: relations, what is outside of subqueries, queries kept as text."""

import re
from collections.abc import Iterator
from functools import lru_cache

import postgast
from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.walking import walk


@lru_cache(maxsize=4096)
def parsed(sql: str) -> Message | None:
    """Parse a query that is kept as text, as that of a view is; None when it cannot be."""
    try:
        return postgast.parse(sql)
    except postgast.PgQueryError:
        return None


def relations(tree: Message) -> Iterator[pb.RangeVar]:
    """Yield every relation that a tree reads or writes; names of common table expressions are none."""
    nodes = walk(tree)
    own = {node.ctename for node in nodes if isinstance(node, pb.CommonTableExpr)}
    for node in nodes:
        if isinstance(node, pb.RangeVar) and (node.schemaname or node.relname not in own):
            yield node


def tables(tree: Message, catalog: Catalog) -> Iterator[Table]:
    """Yield every relation of a tree that the model knows."""
    for relation in relations(tree):
        if table := catalog.find(relation.schemaname, relation.relname):
            yield table


def outside_subqueries(tree: Message) -> Iterator[Message]:
    """Yield every node that is in no subquery: what is computed for each row."""
    stack = [postgast.unwrap_node(tree)]
    while stack:
        node = stack.pop()
        if isinstance(node, pb.SubLink):
            continue
        yield node
        stack.extend(_children(node))


def _children(node: Message) -> Iterator[Message]:
    for descriptor, value in node.ListFields():
        if descriptor.message_type is None:
            continue
        if isinstance(value, Message):
            yield postgast.unwrap_node(value)
        else:
            yield from map(postgast.unwrap_node, value)


def words(text: str) -> frozenset[str]:
    """Return the words of a text, in lower case: the body of a function names what it uses."""
    return _words(text)


@lru_cache(maxsize=4096)
def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z_][a-z0-9_$]*", re.sub(r"--[^\n]*", "", text).lower()))
