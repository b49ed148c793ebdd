"""EV04: amounts in JSON are decimal strings.

Standard: §3.2 Event Examples
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import function_name, literal
from cloudlab.standards.rule import Found, Level, Query, Rule
from cloudlab.standards.words import is_money

_BUILDERS = frozenset({"jsonb_build_object", "json_build_object"})


def _check(query: Query) -> Iterator[Found]:
    if query.statement.node is None:
        return
    for node in query.nodes():
        if isinstance(node, pb.FuncCall) and function_name(node) in _BUILDERS:
            for key, value in zip(node.args[::2], node.args[1::2], strict=False):
                name = literal(key) or ""
                is_fraction = value.HasField("a_const") and value.a_const.WhichOneof("val") == "fval"
                if is_fraction and is_money("payment", name):
                    yield query.found(
                        f"{name} is the JSON number {value.a_const.fval.fval}, which most readers take for a float",
                        name=name,
                        remedy=f"'{name}', '{value.a_const.fval.fval}', with its currency.",
                    )


RULE = Rule(
    id="EV04",
    title="Amounts in JSON are decimal strings",
    heading="§3.2 Event Examples",
    level=Level.WARNING,
    why="JSON numbers become floats in JavaScript, Go and Python: 0.1 + 0.2 is 0.30000000000000004, and an event is"
    " kept for"
    " ever.",
    remedy='{"amount": "99.99", "currency": "EUR"}; or minor units as an integer.',
    bad=(
        "INSERT INTO events (event_data) VALUES (jsonb_build_object('total_amount', 99.99))",
        "SELECT json_build_object('order_id', 1, 'price', 49.90)",
        "INSERT INTO events (event_data)"
        " VALUES (jsonb_build_object('items', jsonb_build_array(jsonb_build_object('price', 49.99))))",
    ),
    good=(
        "INSERT INTO events (event_data) VALUES (jsonb_build_object('total_amount', '99.99', 'currency', 'EUR'))",
        "SELECT jsonb_build_object('amount', 9999, 'weight', 1.5)",
        "SELECT jsonb_build_object('price', price::text) FROM products",
    ),
    query=_check,
)
