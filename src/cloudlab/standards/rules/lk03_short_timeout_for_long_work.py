"""LK03: what waits for old transactions by nature has no short lock_timeout.

Standard: §6.2 Adding Indexes
"""

import re
from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.facts import setting
from cloudlab.standards.rule import Found, Level, Rule, Step

_SHORT_SECONDS = 60.0
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "": 0.001}


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    waits = (isinstance(node, pb.IndexStmt | pb.DropStmt) and node.concurrent) or (
        isinstance(node, pb.ReindexStmt) and any(one.def_elem.defname == "concurrently" for one in node.params)
    )
    seconds = _seconds(setting(step, "lock_timeout"))
    if waits and 0 < seconds < _SHORT_SECONDS:
        yield step.found(
            f"gives up after {seconds:g} s and leaves an INVALID index, when an old transaction lasts longer"
        )


def _seconds(value: str | None) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|h|)\s*", value or "0")
    return float(found[1]) * _UNITS[found[2]] if found else 0.0


RULE = Rule(
    id="LK03",
    title="CONCURRENTLY has time to wait",
    heading="§6.2 Adding Indexes",
    level=Level.WARNING,
    why="CONCURRENTLY waits for every transaction older than itself. That wait counts as a lock: a short "
    "lock_timeout ends "
    "it and leaves an INVALID index, which costs every write and helps no read. Nobody queues behind it meanwhile.",
    remedy="SET lock_timeout = '1h'; before it.",
    bad=(
        "SET lock_timeout = '1s'; CREATE INDEX CONCURRENTLY idx_a ON users (a);",
        "SET lock_timeout = 500; DROP INDEX CONCURRENTLY idx_a;",
        "SET lock_timeout TO '5s'; REINDEX INDEX CONCURRENTLY idx_a;",
    ),
    good=(
        "CREATE INDEX CONCURRENTLY idx_a ON users (a);",
        "SET lock_timeout = '1s'; ALTER TABLE users ADD COLUMN a integer; RESET lock_timeout;"
        " CREATE INDEX CONCURRENTLY idx_a ON users (a);",
        "SET lock_timeout = '1h'; CREATE INDEX CONCURRENTLY idx_a ON users (a);",
        "BEGIN; SET LOCAL lock_timeout = '1s'; COMMIT; CREATE INDEX CONCURRENTLY idx_a ON users (a);",
    ),
    step=_check,
    on=frozenset({"IndexStmt", "DropStmt", "ReindexStmt"}),
)
