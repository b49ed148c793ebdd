"""TY06: a key has the same type wherever its name stands.

Standard: §2.2 Standard Data Types
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Column, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned

_USUAL = 3
_SAME = {"character varying": "text", "character": "text"}


def _check(catalog: Catalog) -> Iterator[Found]:
    named: defaultdict[tuple[str, str], list[tuple[Table, Column]]] = defaultdict(list)
    for table in owned(catalog):
        for column in table.columns.values():
            if column.name.endswith("_id"):
                named[table.schema, column.name].append((table, column))
    for (_, name), places in named.items():
        counts = Counter(_kind(column) for _, column in places)
        usual, times = counts.most_common(1)[0]
        if times < _USUAL or times < len(places) - 1:
            continue
        for table, column in places:
            if _kind(column) != usual:
                yield Found(
                    f"{name} is {column.type} here and {usual} in {times} other tables",
                    column.at,
                    f"{table}.{name}",
                )


def _kind(column: Column) -> str:
    return _SAME.get(column.base_type, column.base_type)


RULE = Rule(
    id="TY06",
    title="A key has the same type wherever its name stands",
    heading="§2.2 Standard Data Types",
    level=Level.NOTE,
    why="A join of two types casts one of them in each row, and may not use its index; what fits in one table overflows"
    " in the other.",
    remedy="Give it the type that the others have.",
    bad=(
        "CREATE TABLE a (u_id uuid); CREATE TABLE b (u_id uuid); CREATE TABLE c (u_id uuid); CREATE TABLE d (u_id"
        " text);",
        "CREATE TABLE a (u_id bigint); CREATE TABLE b (u_id bigint); CREATE TABLE c (u_id bigint);"
        " CREATE TABLE d (u_id integer);",
        "CREATE TABLE a (u_id uuid); CREATE TABLE b (u_id uuid); CREATE TABLE c (u_id uuid); CREATE TABLE d (x int);"
        " ALTER TABLE d ADD COLUMN u_id bigint;",
    ),
    good=(
        "CREATE TABLE a (u_id uuid); CREATE TABLE b (u_id uuid); CREATE TABLE c (u_id uuid); CREATE TABLE d (u_id"
        " uuid);",
        "CREATE TABLE a (u_id uuid); CREATE TABLE b (u_id text);",
        "CREATE TABLE a (u_id text); CREATE TABLE b (u_id text); CREATE TABLE c (u_id text);"
        " CREATE TABLE d (u_id varchar(9));",
        "CREATE TABLE a (name uuid); CREATE TABLE b (name uuid); CREATE TABLE c (name uuid); CREATE TABLE d (name"
        " text);",
    ),
    schema=_check,
)
