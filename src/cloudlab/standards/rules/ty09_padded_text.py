"""TY09: text is not padded.

Standard: §2.2 Standard Data Types
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Column, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import checks_of, owned, qualified, quoted

# Codes and digests that always have their full length need no padding.
_FIXED = re.compile(r"(^|_)(currency|country|language|locale|code|hash|digest|checksum|sha\d*|md5|iso\w*)(_|$)")


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for column in table.columns.values():
            if _is_padded(table, column):
                length = column.type.partition("(")[2].rstrip(")")
                yield Found(
                    f"{column.name} is {column.type}: shorter text is filled up with blanks",
                    column.at,
                    f"{table}.{column.name}",
                    f"ALTER TABLE {qualified(table)} ALTER COLUMN {quoted(column.name)} TYPE varchar({length});",
                )


def _is_padded(table: Table, column: Column) -> bool:
    found = re.fullmatch(r"character\((\d+)\)", column.type) if column.type.startswith("character(") else None
    if found is None:
        return False
    is_code = _FIXED.search(column.name) or any(checks_of(table, column.name))
    return int(found[1]) > 1 and not is_code


RULE = Rule(
    id="TY09",
    title="Text is not padded",
    heading="§2.2 Standard Data Types",
    level=Level.NOTE,
    why="char(20) stores the blanks, compares without them, and gives them to every client.",
    remedy="varchar(n).",
    bad=(
        "CREATE TABLE u (name char(20));",
        "CREATE TABLE u (phone character(12) NOT NULL);",
        "CREATE TABLE u (u int); ALTER TABLE u ADD COLUMN city char(30);",
    ),
    good=(
        "CREATE TABLE o (currency char(3), country_code char(2), sha256 char(64));",
        "CREATE TABLE u (name varchar(20), flag char(1));",
        "CREATE TABLE u (plate char(7) CHECK (plate ~ '^[A-Z0-9]{7}$'));",
        'CREATE TABLE u (kind "char");',
    ),
    schema=_check,
)
