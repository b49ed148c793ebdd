"""RT02: a row that is marked as deleted gives its name free.

Standard: §8.2 Soft Deletion
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Index
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, qualified, quoted

_NAMES = re.compile(
    r"(\w+_)?(email|username|user_name|slug|login|handle|nickname|subdomain|sku|title|name|phone_number)"
)
_MARKS = ("deleted_at", "archived_at", "discarded_at", "is_deleted")


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        mark = next((name for name in _MARKS if name in table.columns), None)
        for index in table.indexes.values() if mark else ():
            name = _name(index)
            key = table.primary_key
            if name and index.predicate is None and mark not in index.columns and (not key or index.name != key.name):
                columns = ", ".join(quoted(each) for each in index.columns if each)
                yield Found(
                    f"{index.name} keeps {name} of a deleted row from being used again",
                    index.at,
                    f"{table}.{index.name}",
                    f"CREATE UNIQUE INDEX CONCURRENTLY ON {qualified(table)} ({columns}) WHERE {mark} IS NULL; if"
                    " that is"
                    " meant.",
                )


def _name(index: Index) -> str:
    if not index.unique or not index.valid or None in index.columns:
        return ""
    return next((name for name in index.columns if name and _NAMES.fullmatch(name)), "")


RULE = Rule(
    id="RT02",
    title="A row that is marked as deleted gives its name free",
    heading="§8.2 Soft Deletion",
    level=Level.NOTE,
    why="Who closes an account cannot open one with the same address, and a product cannot be listed again: the"
    " deleted row,"
    " which nobody sees, has the name.",
    remedy="A unique index WHERE deleted_at IS NULL.",
    bad=(
        "CREATE TABLE users (email text UNIQUE, deleted_at timestamptz);",
        "CREATE TABLE shops (slug text, deleted_at timestamptz); CREATE UNIQUE INDEX i ON shops (slug);",
        "CREATE TABLE p (tenant_id uuid, sku text, UNIQUE (tenant_id, sku)); ALTER TABLE p ADD COLUMN deleted_at date;",
    ),
    good=(
        "CREATE TABLE users (email text, deleted_at date); CREATE UNIQUE INDEX i ON users (email) WHERE deleted_at"
        " IS NULL;",
        "CREATE TABLE users (email text UNIQUE);",
        "CREATE TABLE users (u uuid PRIMARY KEY, token text UNIQUE, deleted_at date);",
        "CREATE TABLE users (email text, deleted_at date, UNIQUE (email, deleted_at));",
    ),
    schema=_check,
)
