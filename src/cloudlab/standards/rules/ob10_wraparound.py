"""OB10: transaction ids are far from their end.

Standard: §10.1 Health Checks
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Server

_END = 2_000_000_000
_LATE = 1_000_000_000  # autovacuum begins at autovacuum_freeze_max_age, 200 million: here it has failed for long


def _check(server: Server) -> Iterator[Found]:
    for row in server.facts.get("databases", ()):
        age = int(row["xid_age"] or 0)
        if age > _LATE:
            yield Found(
                f"its oldest transaction is {age:,} ids old: at {_END:,} the server refuses every write",
                name=str(row["name"]),
            )
    late = [row for row in server.facts.get("tables", ()) if int(row["xid_age"] or 0) > _LATE]
    for row in sorted(late, key=lambda row: -int(row["xid_age"]))[:10]:
        yield Found(
            f"was not frozen for {int(row['xid_age']):,} transactions",
            name=str(row["name"]),
            remedy=f"VACUUM (FREEZE, VERBOSE) {row['name']};",
        )


RULE = Rule(
    id="OB10",
    title="Transaction ids are far from their end",
    heading="§10.1 Health Checks",
    level=Level.ERROR,
    why="Ids are reused after two thousand million transactions. Where old rows were not frozen in time, the server "
    "stops to write: for hours.",
    remedy="End long transactions, prepared transactions and unused slots, then VACUUM (FREEZE) the oldest tables.",
    server=_check,
)
