"""OB12: plans are made from statistics of today.

Standard: §10.1 Performance Monitoring
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Server

_ROWS = 10_000
_CHANGED = 0.5  # autovacuum analyses after a tenth


def _check(server: Server) -> Iterator[Found]:
    for row in server.facts.get("tables", ()):
        live, changed = int(row["live"] or 0), int(row["changed"] or 0)
        if live < _ROWS:
            continue
        remedy = f"ANALYZE {row['name']};"
        if row["analyzed"] is None and changed:
            yield Found(f"has {live:,} rows and was never analysed: plans are guesses", name=str(row["name"]),
                        remedy=remedy)  # fmt: skip
        elif row["analyzed"] is not None and changed > _CHANGED * live:
            yield Found(f"{changed:,} rows changed since it was analysed, of {live:,}", name=str(row["name"]),
                        remedy=remedy)  # fmt: skip


RULE = Rule(
    id="OB12",
    title="Plans are made from statistics of today",
    heading="§10.1 Performance Monitoring",
    level=Level.WARNING,
    why="The planner takes a table for what it was when it was analysed: it chooses a nested loop for ten rows"
    " that are "
    "ten million by now.",
    remedy="ANALYZE it, and see why autovacuum did not.",
    server=_check,
)
