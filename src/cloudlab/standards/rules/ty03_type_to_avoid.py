"""TY03: types that surprise are not used.

Standard: §2.2 Standard Data Types
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Column
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import listed, owned, qualified, quoted

_INSTEAD = {
    "timestamp": ("timestamp with time zone", "it is another moment in each session's time zone"),
    "time with time zone": ("time, or timestamp with time zone", "an offset without a date means nothing"),
    "json": ("jsonb", "it is parsed again by each read, has no equality and no useful index"),
    "hstore": ("jsonb", "it holds strings alone, and needs an extension"),
}


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        groups: defaultdict[str, list[Column]] = defaultdict(list)
        for column in table.columns.values():
            if kind := _kind(column):
                groups[kind].append(column)
        for kind, columns in groups.items():
            instead, why = _INSTEAD[kind]
            name = quoted(columns[0].name)
            turned = " USING created_at AT TIME ZONE 'UTC'".replace("created_at", name) if kind == "timestamp" else ""
            yield Found(
                f"{listed([column.name for column in columns])}: {columns[0].type}; {why}",
                columns[0].at,
                str(table),
                f"ALTER TABLE {qualified(table)} ALTER COLUMN {name} TYPE {instead}{turned};",
            )


def _kind(column: Column) -> str:
    base = re.sub(r"\(\d+\)", "", column.type.removesuffix("[]"))
    if base == "timestamp without time zone":
        return "timestamp"
    base = base.rpartition(".")[2]
    return base if base in _INSTEAD else ""


RULE = Rule(
    id="TY03",
    title="No timestamp without time zone, timetz, json or hstore",
    heading="§2.2 Standard Data Types",
    level=Level.WARNING,
    why="A timestamp without time zone is read in the time zone of the session: two services disagree by hours. json is"
    " text that is parsed again by every read.",
    remedy="timestamp with time zone; jsonb.",
    bad=(
        "CREATE TABLE u (created_at timestamp NOT NULL);",
        "CREATE TABLE u (created_at timestamp(6) without time zone, updated_at timestamp(6));",
        "CREATE TABLE u (settings json);",
        "CREATE TABLE u (opens timetz);",
    ),
    good=(
        "CREATE TABLE u (created_at timestamptz NOT NULL, seen_at timestamp(3) with time zone);",
        "CREATE TABLE u (settings jsonb);",
        "CREATE TABLE u (opens time);",
        "CREATE TABLE u (birthday date, length interval);",
        "CREATE TABLE schema_migrations (version text PRIMARY KEY, applied_at timestamp);",
    ),
    schema=_check,
)
