"""EV01: two events of a stream cannot have one version.

Standard: §3.2 Event Store Schema
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.events import aggregate_of, event_stores, version_of
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import qualified


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in event_stores(catalog):
        aggregate, version = aggregate_of(table), version_of(table)
        if version is None:
            yield Found("events of a stream have no version: nobody can tell that one is missing", table.at, str(table))
        elif not _is_unique(catalog, table, aggregate, version):
            yield Found(
                f"nothing keeps two events of one {aggregate} from having one {version}",
                table.at,
                str(table),
                f"ALTER TABLE {qualified(table)} ADD CONSTRAINT uq_{table.name}_{version} UNIQUE ({aggregate},"
                f" {version});"
                " where it is partitioned, keep the version of each stream in a table of its own.",
            )


def _is_unique(catalog: Catalog, table: Table, aggregate: str, version: str) -> bool:
    by_partition = {name for name in table.partition_key if name}
    for names in table.unique_sets():
        if {aggregate, version} <= names and names <= {
            aggregate,
            version,
            "tenant_id",
            "aggregate_type",
            "stream_type",
        }:
            return True
        if {aggregate, version} <= names and names & by_partition and _has_streams(catalog, aggregate):
            return True
    return False


def _has_streams(catalog: Catalog, aggregate: str) -> bool:
    """Whether another table holds one row with a version for each stream."""
    return any(
        re.search(r"stream|aggregate", other.name)
        and any(aggregate in names and "version" not in " ".join(names) for names in other.unique_sets())
        and any("version" in name for name in other.columns)
        for other in catalog.real_tables()
    )


RULE = Rule(
    id="EV01",
    title="Two events of a stream cannot have one version",
    heading="§3.2 Event Store Schema",
    level=Level.ERROR,
    why="Two writers read version 7 and both write 8: 313 of 400 concurrent appends shared a version, and a replay no"
    " longer gives what happened.",
    remedy="UNIQUE (aggregate_id, event_version); where it is partitioned by time, a table of streams whose version"
    " is moved"
    " by compare-and-set.",
    bad=(
        "CREATE TABLE events (event_id uuid PRIMARY KEY, aggregate_id uuid, event_version int, event_data jsonb);",
        "CREATE TABLE domain_events (id bigint PRIMARY KEY, stream_id uuid, version int);"
        " CREATE INDEX i ON domain_events (stream_id, version);",
        "CREATE TABLE events (aggregate_id uuid, event_data jsonb, created_at date) PARTITION BY RANGE (created_at);",
        "CREATE TABLE events (aggregate_id uuid, event_version int, at date, UNIQUE (aggregate_id, event_version, at))"
        " PARTITION BY RANGE (at);",
    ),
    good=(
        "CREATE TABLE events (aggregate_id uuid, event_version int, UNIQUE (aggregate_id, event_version));",
        "CREATE TABLE events (tenant_id uuid, aggregate_id uuid, event_version int);"
        " CREATE UNIQUE INDEX i ON events (tenant_id, aggregate_id, event_version);",
        "CREATE TABLE event_streams (aggregate_id uuid PRIMARY KEY, event_version int); CREATE TABLE events"
        " (aggregate_id"
        " uuid, event_version int, at date, UNIQUE (aggregate_id, event_version, at)) PARTITION BY RANGE (at);",
        "CREATE TABLE analytics_events (event_id uuid PRIMARY KEY, user_id uuid, event_version int);",
    ),
    schema=_check,
)
