"""OB05: a lock that waits is judged by how long it waits.

Standard: §10.1 Health Checks
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Query, Rule

_LOCKS = re.compile(r"\bpg_locks\b", re.IGNORECASE)
_WAITING = re.compile(r"\bnot\s+(?:\w+\.)?granted\b|\bgranted\s*(?:=\s*false|is\s+false)\b", re.IGNORECASE)
_DURATION = re.compile(r"waitstart|query_start|state_change|xact_start|interval|age\s*\(", re.IGNORECASE)
_STATEMENT = re.compile(r"[^;]*\bpg_locks\b[^;]*", re.IGNORECASE)


def _is_blind(text: str) -> bool:
    """Whether a statement of a text looks for waiting locks and not for how long they wait."""
    return bool(_LOCKS.search(text)) and any(
        _WAITING.search(one) and not _DURATION.search(one) for one in _STATEMENT.findall(text)
    )


def _check(catalog: Catalog) -> Iterator[Found]:
    for function in catalog.functions.values():
        if _is_blind(function.body):
            yield Found(_MESSAGE, function.at, f"{function.name}()")
    for view in catalog.tables.values():
        if _is_blind(view.query):
            yield Found(_MESSAGE, view.at, str(view))


def _check_query(query: Query) -> Iterator[Found]:
    if _is_blind(query.statement.text):
        yield query.found(_MESSAGE, name="pg_locks")


_MESSAGE = "warns of any lock that waits, however briefly: under load there always is one"

RULE = Rule(
    id="OB05",
    title="A lock that waits is judged by how long it waits",
    heading="§10.1 Health Checks",
    level=Level.NOTE,
    why="Two transactions that update the same row wait a millisecond for each other all day. An alarm that is always "
    "on is looked at by nobody.",
    remedy="WHERE NOT granted AND waitstart < now() - interval '30 seconds';",
    bad=(
        "SELECT 1 FROM pg_locks WHERE NOT granted",
        "CREATE FUNCTION health() RETURNS boolean LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted); END $$;",
        "CREATE VIEW blocked AS SELECT pid FROM pg_locks l WHERE NOT l.granted;",
    ),
    good=(
        "SELECT pid FROM pg_locks WHERE NOT granted AND waitstart < now() - interval '30 seconds'",
        "SELECT pid, granted FROM pg_locks",
        "CREATE VIEW blocked AS SELECT l.pid, a.query_start FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE NOT l.granted;",
    ),
    schema=_check,
    query=_check_query,
)
