"""QY06: a query fits the schema of its database.

Standard: §5.2 Query Patterns
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Query, Rule

# What is wrong whatever the parameters are; a parameter whose type cannot be told has one in the program.
_WRONG = {
    "42703",  # no such column
    "42702",  # two columns of this name
    "42804",  # the wrong type
    "42883",  # no such function or operator
    "42803",  # not grouped
    "42P10",  # no unique index for ON CONFLICT
    "22P02",  # no such label of an enum, no number
    "42846",  # no such cast
    "42601",  # more values than columns
    "428C9",  # a generated column is written
}


def _check(query: Query) -> Iterator[Found]:
    answer = query.answer
    if answer and answer.state in _WRONG and "unknown" not in answer.problem:
        yield query.found(f"the server refuses it: {answer.problem}")


_TABLES = """CREATE TYPE state AS ENUM ('new', 'paid');
CREATE TABLE orders (order_id uuid PRIMARY KEY, total numeric(19,4), status state, tags jsonb);
CREATE TABLE items (item_id uuid PRIMARY KEY, order_id uuid, total numeric(19,4));
"""


def _with_tables(*queries: str) -> tuple[str, ...]:
    return tuple(f"{_TABLES}{query}" for query in queries)


RULE = Rule(
    id="QY06",
    title="A query fits the schema",
    heading="§5.2 Query Patterns",
    level=Level.ERROR,
    why="A column that was renamed, a label that no enum has, ON CONFLICT without its unique index: the server knows "
    "when the statement is prepared, users when it runs. Asked of a database alone, by PREPARE; nothing is executed.",
    remedy="Mend the name or the type, or bring the database up to date.",
    bad=_with_tables(
        "SELECT totl FROM orders WHERE order_id = $1",
        "SELECT order_id FROM orders WHERE status = 'payed'",
        "SELECT total FROM orders AS o JOIN items AS i ON i.order_id = o.order_id",
        "INSERT INTO items (item_id, order_id) VALUES ($1, $2) ON CONFLICT (order_id) DO NOTHING",
        "SELECT order_id, sum(total) FROM items",
        "SELECT order_id FROM orders WHERE order_id = total",
    ),
    good=_with_tables(
        "SELECT total FROM orders WHERE order_id = $1 AND tags @> $2",
        "SELECT $1 IS NULL FROM orders",
        "SELECT name FROM customers",
        "INSERT INTO orders (order_id, status) VALUES ($1, 'new') ON CONFLICT (order_id) DO NOTHING",
        "WITH x AS (SELECT total AS sum FROM orders) SELECT sum FROM x",
    ),
    query=_check,
    asks=True,
)
