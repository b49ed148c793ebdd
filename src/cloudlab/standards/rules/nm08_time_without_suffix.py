"""NM08: a moment ends in _at, a date in _date or _on.

Standard: §2.1 Column Naming
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import listed, owned, qualified, quoted

_MOMENT = re.compile(
    r"(\w+_)?(at|time|timestamp|since|until|from|to|before|after|on|date|start|end|expires|expiry|deadline|due|cursor|floor"
    r"|moment|seen|when|hour|month|week|bucket|as_of|up_to)|(date|time)_\w+"
)


def _snake(name: str) -> str:
    """Return createdAt as created_at; that it has another case is for NM01 to say."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        names = [
            column.name
            for column in table.columns.values()
            if column.type.startswith("timestamp")
            and not column.type.endswith("]")
            and not _MOMENT.fullmatch(_snake(column.name))
        ]
        if names:
            yield Found(
                f"{listed(names)}: a moment whose name does not say so",
                table.columns[names[0]].at,
                str(table),
                f"ALTER TABLE {qualified(table)} RENAME COLUMN {quoted(names[0])} TO {quoted(names[0] + '_at')};",
            )


RULE = Rule(
    id="NM08",
    title="A moment is named like one",
    heading="§2.1 Column Naming",
    level=Level.NOTE,
    why="last_login may be a moment, a key or a flag; last_login_at is read without looking at the table.",
    remedy="last_login_at.",
    bad=(
        "CREATE TABLE u (last_login timestamptz);",
        "CREATE TABLE u (created timestamptz, modified timestamptz);",
        "CREATE TABLE u (locked timestamp);",
    ),
    good=(
        "CREATE TABLE u (last_login_at timestamptz, locked_until timestamptz);",
        "CREATE TABLE u (valid_from timestamptz, valid_to timestamptz);",
        "CREATE TABLE u (birthday date, locked boolean);",
        "CREATE TABLE u (date_created timestamptz, time_taken timestamptz);",
        'CREATE TABLE u ("createdAt" timestamptz, "validUntil" timestamptz);',
    ),
    schema=_check,
)
