"""TN07: the tenant is set for the transaction and not for the session.

Standard: §4.1 Row-Level Security (RLS)
"""

import re
from collections.abc import Iterator

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import function_name, literal
from cloudlab.standards.rule import Found, Level, Query, Rule, Step
from cloudlab.standards.walking import walk

_ARGUMENTS = 3
_WHO = re.compile(r"\w+\..*(tenant|user|org|account|customer|company|workspace|team|claim|jwt|role|member|actor)", re.I)


def _check_step(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if isinstance(node, pb.VariableSetStmt):
        if node.kind == pb.VAR_SET_VALUE and not node.is_local and _WHO.match(node.name):
            yield _found(step, node.name)
    elif isinstance(node, pb.SelectStmt):
        for name in _for_the_session(node):
            yield _found(step, name)


def _check_query(query: Query) -> Iterator[Found]:
    for name in _for_the_session(query.statement.node) if query.statement.node else ():
        yield _found(query, name)


def _for_the_session(tree: Message) -> Iterator[str]:
    """Yield the settings that set_config() changes for longer than the transaction."""
    for node in walk(tree):
        if isinstance(node, pb.FuncCall) and function_name(node) == "set_config" and len(node.args) == _ARGUMENTS:
            name = literal(node.args[0]) or ""
            if _WHO.match(name) and literal(node.args[2]) in {"false", "f"}:
                yield name


def _found(where: Step | Query, name: str) -> Found:
    return where.found(
        f"sets {name} for the session: behind a transaction pooler it stays for the next client of the connection",
        name=name,
        remedy=f"SELECT set_config('{name}', …, true); in the transaction that reads.",
    )


RULE = Rule(
    id="TN07",
    title="The tenant is set for the transaction",
    heading="§4.1 Row-Level Security (RLS)",
    level=Level.ERROR,
    why="Behind a transaction pooler a session's SET stays on the server connection that the next client gets: it gave "
    "the wrong tenant in 5,679 of 6,000 statements.",
    remedy="SET LOCAL, or set_config(name, value, true), inside of the transaction.",
    bad=(
        "SET app.current_tenant_id = '550e8400-e29b-41d4-a716-446655440000';",
        "SET SESSION app.current_user_id = '1';",
        "SELECT set_config('app.current_tenant_id', $1, false);",
    ),
    good=(
        "BEGIN; SET LOCAL app.current_tenant_id = '550e8400-e29b-41d4-a716-446655440000'; COMMIT;",
        "SELECT set_config('app.current_tenant_id', $1, true);",
        "SET statement_timeout = '5s';",
        "SET pg_stat_statements.track = 'all';",
        "RESET app.current_tenant_id;",
        "SELECT set_config('search_path', '', false);",
    ),
    step=_check_step,
    on=frozenset({"VariableSetStmt", "SelectStmt"}),
    query=_check_query,
)
