"""Walking through what PostgreSQL's parser gives, quickly: most of a check of queries is this.

Standard: §5.2 Query Patterns
"""

from typing import Any

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

_SCALARS = (int, str, float, bytes)


def walk(tree: Message | None) -> list[Message]:
    """Return a node and all that is in it, what stands first in front; nothing for None.

    The wrapper that the parser puts around each node of a list is left out.
    """
    found: list[Message] = []
    stack: list[Any] = [] if tree is None else [tree]
    while stack:
        node = stack.pop()
        if type(node) is not pb.Node:
            found.append(node)
        for _, value in reversed(node.ListFields()):
            if isinstance(value, _SCALARS):
                continue
            if isinstance(value, Message):
                stack.append(value)
            else:
                stack.extend(one for one in reversed(value) if not isinstance(one, _SCALARS))
    return found
