"""IX07: dead rows are vacuumed away.

Standard: §10.1 Performance Monitoring
"""

from collections.abc import Iterator
from typing import Any

from cloudlab.standards.catalog import Place
from cloudlab.standards.rule import Found, Level, Rule, Server

_LARGE = 100_000
_DEAD = 0.3


def _check(server: Server) -> Iterator[Found]:
    for table in server.facts.get("tables", []):
        problem = _problem(table)
        if problem:
            name = str(table["name"])
            yield Found(problem, Place(name), name, f"VACUUM (ANALYZE) {name}; and see why autovacuum does not.")


def _problem(table: dict[str, Any]) -> str:
    live, dead = table["live"] or 0, table["dead"] or 0
    if live + dead < _LARGE:
        return ""
    if dead > _DEAD * (live + dead):
        return f"{dead:,} of {live + dead:,} rows are dead"
    return ""


RULE = Rule(
    id="IX07",
    title="Dead rows are vacuumed away",
    heading="§10.1 Performance Monitoring",
    level=Level.WARNING,
    why="Dead rows are read by every scan and kept in every index.",
    remedy="VACUUM (ANALYZE), and find out what keeps autovacuum from it: long transactions, slots, settings.",
    server=_check,
)
