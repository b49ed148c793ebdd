"""TS01: created_at and updated_at are always there.

Standard: §2.2 Column Constraints
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import is_record, listed, owned, qualified, quoted

_NAMES = ("created_at", "updated_at")


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        times = [table.columns[name] for name in _NAMES if name in table.columns]
        loose = [
            one for one in times
            if one.type.startswith("timestamp") and not (one.not_null and (one.default or is_record(table)))
        ]  # fmt: skip
        if loose:
            lacks = " and ".join(
                ["NOT NULL"] * any(not one.not_null for one in loose)
                + ["a default"] * any(not one.default for one in loose)
            )
            yield Found(
                f"{listed([one.name for one in loose])} lacks {lacks}",
                loose[0].at,
                str(table),
                f"ALTER TABLE {qualified(table)} ALTER COLUMN {quoted(loose[0].name)} SET DEFAULT now();"
                " and SET NOT NULL once a check has proven it.",
            )


RULE = Rule(
    id="TS01",
    title="created_at and updated_at are always there",
    heading="§2.2 Column Constraints",
    level=Level.NOTE,
    why="Rows that were written by hand, by a job or by another service lack them: they are in no page sorted by time,"
    " in no export of what changed, and are never archived.",
    remedy="timestamp with time zone NOT NULL DEFAULT now().",
    bad=(
        "CREATE TABLE users (created_at timestamptz);",
        "CREATE TABLE users (created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);",
        "CREATE TABLE users (u uuid); ALTER TABLE users ADD COLUMN updated_at timestamptz DEFAULT now();",
    ),
    good=(
        "CREATE TABLE users (created_at timestamptz NOT NULL DEFAULT now());",
        "CREATE TABLE orders_archive (created_at timestamptz NOT NULL);",
        "CREATE TABLE order_items (order_id uuid, deleted_at timestamptz);",
        "CREATE TABLE t (created_at bigint);",
    ),
    schema=_check,
)
