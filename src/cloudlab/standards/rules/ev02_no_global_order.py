"""EV02: events have one order for all readers.

Standard: §3.2 Event Store Schema
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.events import event_stores
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import is_from_sequence, qualified

_POSITION = re.compile(r"(\w+_)?(position|offset|sequence|seq|ordinal|xid|transaction_id)(_number)?|global_\w+")


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in event_stores(catalog):
        if not _has_order(table):
            yield Found(
                "no column gives all events one order: readers that go by created_at skip what commits late",
                table.at,
                str(table),
                f"ALTER TABLE {qualified(table)} ADD COLUMN event_position bigint; numbered by a sequence, with an"
                " index.",
            )


def _has_order(table: Table) -> bool:
    return any(
        is_from_sequence(column) or (_POSITION.fullmatch(column.name) and column.type in {"bigint", "xid8", "numeric"})
        for column in table.columns.values()
    )


RULE = Rule(
    id="EV02",
    title="Events have one order for all readers",
    heading="§3.2 Event Store Schema",
    level=Level.WARNING,
    why="created_at is when a transaction began, and is not unique: a reader that has gone past it never sees the"
    " event of"
    " a transaction that commits later, and cannot say where it stopped.",
    remedy="A position from a sequence, and readers that stop below what open transactions may still fill.",
    bad=(
        "CREATE TABLE events (event_id uuid PRIMARY KEY, aggregate_id uuid, event_version int, created_at"
        " timestamptz);",
        "CREATE TABLE domain_events (stream_id uuid, version int, PRIMARY KEY (stream_id, version));",
        "CREATE TABLE event_store (aggregate_id uuid, position text);",
    ),
    good=(
        "CREATE TABLE events (event_position bigint PRIMARY KEY, aggregate_id uuid, event_version int);",
        "CREATE TABLE events (id bigserial PRIMARY KEY, stream_id uuid, version int);",
        "CREATE TABLE events (n bigint GENERATED ALWAYS AS IDENTITY, aggregate_id uuid);",
        "CREATE TABLE calendar_events (event_id uuid PRIMARY KEY, created_at timestamptz);",
    ),
    schema=_check,
)
