"""NM04: a column is what its name promises.

Standard: §2.1 Column Naming
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned

_TIMES = ("timestamp", "date", "time")
_NUMBERS = ("integer", "bigint", "smallint", "numeric", "double precision", "real")


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for column in table.columns.values():
            promised = _promised(column.name, column.type)
            if promised:
                yield Found(f"{column.name} is {column.type}, not {promised}", column.at, f"{table}.{column.name}")


@lru_cache(maxsize=4096)
def _promised(name: str, kind: str) -> str:
    """Return what the name promises where the type is something else."""
    known = (*_TIMES, *_NUMBERS, "boolean", "text", "character", "uuid", "json")
    if not kind.startswith(known):
        return ""
    if re.fullmatch(r"(is|has|can)_\w+", name) and kind.startswith(("text", "character", *_NUMBERS)):
        return "boolean"
    if re.fullmatch(r"\w+_at", name) and not kind.startswith(_TIMES):
        return "a time" if name not in {"look_at", "good_at"} else ""
    if re.fullmatch(r"\w+_count", name) and not kind.startswith(_NUMBERS):
        return "a number"
    if re.fullmatch(r"\w+_date", name) and not kind.startswith(("date", "timestamp")):
        return "a date"
    return ""


RULE = Rule(
    id="NM04",
    title="A column is what its name promises",
    heading="§2.1 Column Naming",
    level=Level.WARNING,
    why="is_active = 2, created_at = 1700000000 (seconds or milliseconds?) and due_date = '31.2.2024' all happen"
    " where the"
    " type does not refuse them.",
    remedy="Give it the type that its name says, or the name that its type says: created_at_ms.",
    bad=(
        "CREATE TABLE u (is_active smallint);",
        "CREATE TABLE u (created_at bigint);",
        "CREATE TABLE u (due_date varchar(10), item_count text);",
    ),
    good=(
        "CREATE TABLE u (is_active boolean, created_at timestamptz, due_date date, item_count integer);",
        "CREATE TABLE u (created_at_ms bigint, format text, island text, flat boolean);",
        "CREATE TABLE u (due_date timestamptz, starts_at time);",
        "CREATE DOMAIN moment AS timestamptz; CREATE TABLE u (created_at moment);",
    ),
    schema=_check,
)
