"""CM02: a comment says more than the name.

Standard: §11.2 Implementation Guidelines
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from cloudlab.standards.catalog import Catalog, Place
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned
from cloudlab.standards.words import singular, tokens

_FILLERS = frozenset({"the", "a", "an", "of", "this", "table", "column", "for", "todo", "tbd", "fixme", "field"})


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        if table.comment and _is_empty(table.comment, table.name):
            yield _found(table.at, str(table), table.comment)
        for column in table.columns.values():
            # Tools keep marks of their own in comments: (DC2Type:json), @omit.
            if column.comment and _is_empty(column.comment, f"{table.name}_{column.name}"):
                yield _found(column.at, f"{table}.{column.name}", column.comment)


def _found(at: Place, name: str, comment: str) -> Found:
    return Found(f"the comment {comment!r} says no more than the name", at, name)


@lru_cache(maxsize=16384)
def _is_empty(comment: str, name: str) -> bool:
    if re.match(r"[(@]", comment):
        return False
    said = {singular(word) for word in re.findall(r"\w+", comment.lower())} - _FILLERS
    return said <= {singular(word) for word in tokens(name)}


RULE = Rule(
    id="CM02",
    title="A comment says more than the name",
    heading="§11.2 Implementation Guidelines",
    level=Level.NOTE,
    why="'User ID' on user_id counts as documented in every report, and tells nobody anything.",
    remedy="Say the unit, the meaning of NULL, who writes it, or take the comment away.",
    bad=(
        "CREATE TABLE users (user_id uuid); COMMENT ON COLUMN users.user_id IS 'User ID';",
        "CREATE TABLE users (user_id uuid); COMMENT ON TABLE users IS 'The users table';",
        "CREATE TABLE users (name text); COMMENT ON COLUMN users.name IS 'TODO';",
    ),
    good=(
        "CREATE TABLE users (user_id uuid); COMMENT ON TABLE users IS 'Customers and vendors';",
        "CREATE TABLE users (status text); COMMENT ON COLUMN users.status IS 'NULL until confirmed';",
        "CREATE TABLE users (data text); COMMENT ON COLUMN users.data IS '(DC2Type:json)';",
    ),
    schema=_check,
)
