"""Which tables are stores of events and sagas.

Standard: §3.2 Event Store Schema, §3.3 Saga State Management
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.scope import owned

_STORE = re.compile(r"(\w+_)?events?|event_(store|log)|event_journal")
_COPIES = re.compile(r"archive|parked|failed|dead|pending|processed|outbox|inbox|queue|scheduled")
_AGGREGATES = ("aggregate_id", "stream_id", "aggregate_uuid", "stream_name")
_VERSIONS = ("event_version", "aggregate_version", "stream_version", "version", "sequence_number", "revision")


def event_stores(catalog: Catalog) -> Iterator[Table]:
    """Yield the tables that hold the events of streams, no archives, queues or parking places of them."""
    for table in owned(catalog):
        is_copy = _COPIES.search(table.name) or table.schema == "archive"
        if _STORE.fullmatch(table.name) and not is_copy and aggregate_of(table):
            yield table


def aggregate_of(table: Table) -> str:
    """Return the column that names the stream, empty where there is none; one that identifies each event is none."""
    key = table.primary_key
    alone = key.columns[0] if key and len(key.columns) == 1 else ""
    return next((name for name in _AGGREGATES if name in table.columns and name != alone), "")


def version_of(table: Table) -> str | None:
    """Return the column with the place of an event in its stream."""
    return next((name for name in _VERSIONS if name in table.columns), None)


def sagas(catalog: Catalog) -> Iterator[Table]:
    """Yield the tables of sagas and their steps."""
    return (table for table in owned(catalog) if re.search(r"(^|_)sagas?(_|$)", table.name))
