"""EV03: events are only appended.

Standard: §3.2 Event Store Schema
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.events import event_stores
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import qualified, quoted

_CHANGES = {"update", "delete", "truncate", "all"}


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in event_stores(catalog):
        if table.is_opaque or _is_guarded(table):
            continue
        for role, granted in table.grants.items():
            if role != table.owner and _CHANGES & granted:
                what = ", ".join(sorted(_CHANGES & granted)).upper()
                yield Found(
                    f"{role} may {what} what has happened",
                    table.at,
                    str(table),
                    f"REVOKE UPDATE, DELETE, TRUNCATE ON {qualified(table)} FROM {quoted(role)};",
                )


def _is_guarded(table: Table) -> bool:
    """Whether triggers run before both, which on an event store is to refuse them."""
    before = [trigger.events for trigger in table.triggers.values() if trigger.when == "before"]
    return {"update", "delete"} <= frozenset[str]().union(*before)


_EVENTS = "CREATE TABLE events (event_position bigint PRIMARY KEY, aggregate_id uuid, event_version int);"

RULE = Rule(
    id="EV03",
    title="Events are only appended",
    heading="§3.2 Event Store Schema",
    level=Level.WARNING,
    why="An audit trail that the application may rewrite proves nothing, and projections that have read an event never"
    " learn that it changed.",
    remedy="GRANT INSERT and SELECT alone, and a trigger that refuses the rest.",
    bad=(
        _EVENTS + "GRANT SELECT, INSERT, UPDATE ON events TO app;",
        _EVENTS + "GRANT ALL ON events TO app;",
        _EVENTS + "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;",
    ),
    good=(
        _EVENTS + "GRANT SELECT, INSERT ON events TO app;",
        _EVENTS + "GRANT ALL ON events TO app; REVOKE ALL ON events FROM app;",
        _EVENTS + "GRANT ALL ON events TO app;"
        "CREATE TRIGGER t BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION refuse_change();",
        "CREATE TABLE calendar_events (event_id uuid PRIMARY KEY); GRANT ALL ON calendar_events TO app;",
    ),
    schema=_check,
)
