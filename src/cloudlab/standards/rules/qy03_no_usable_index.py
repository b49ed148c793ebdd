"""QY03: an index finds the rows that a query wants.

Standard: §5.2 Query Patterns
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Query, Rule

_LARGE, _FEW = 10_000, 0.05


def _check(query: Query) -> Iterator[Found]:
    for scan in query.answer.scans if query.answer else ():
        rows = scan.table.rows or 0
        # A flag, or what is not so, lets too many through for any index.
        if rows >= _LARGE and scan.rows <= rows * _FEW and " = " in scan.condition:
            yield query.found(
                f"reads all {rows:,.0f} rows of {scan.table} for about {scan.rows:,.0f}: no index serves"
                f" {scan.condition}",
                name=str(scan.table),
            )
            return


_TABLES = """CREATE TABLE orders (order_id uuid PRIMARY KEY, user_id integer, status text, note text, is_late boolean);
INSERT INTO orders SELECT gen_random_uuid(), n, CASE WHEN n % 3 = 0 THEN 'new' ELSE 'old' END, 'n' || n, n % 2 = 0
FROM generate_series(1, 20000) AS n;
CREATE INDEX idx_orders_user_id ON orders (user_id);
CREATE TABLE small (a integer, b integer);
ANALYZE orders;
"""


def _with_tables(*queries: str) -> tuple[str, ...]:
    return tuple(f"{_TABLES}{query}" for query in queries)


RULE = Rule(
    id="QY03",
    title="An index finds what a query wants",
    heading="§5.2 Query Patterns",
    level=Level.WARNING,
    why="Without one the whole table is read for a few rows, more each month. Asked of a database alone, by EXPLAIN "
    "without parameters and with sequential scans forbidden: reported is what no index serves, in tables of 10,000 "
    "rows and more, where less than a twentieth of them is wanted.",
    remedy="CREATE INDEX CONCURRENTLY on the columns of the condition, those compared by = first.",
    bad=_with_tables(
        "SELECT order_id FROM orders WHERE note = $1",
        "UPDATE orders SET status = 'old' WHERE note = $1",
        "SELECT order_id FROM orders WHERE lower(note) = $1",
        "DELETE FROM orders WHERE note = 'n17'",
    ),
    good=_with_tables(
        "SELECT order_id FROM orders WHERE user_id = $1 AND note = $2",
        "SELECT order_id FROM orders WHERE status = 'new'",
        "SELECT count(*) FROM orders WHERE is_late",
        "SELECT order_id FROM orders WHERE note = $1 ORDER BY user_id LIMIT 5",
        "SELECT a FROM small WHERE b = $1",
    ),
    query=_check,
    asks=True,
)
