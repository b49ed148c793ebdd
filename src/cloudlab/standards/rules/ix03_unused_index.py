"""IX03: indexes are used.

Standard: §5.1 Primary Indexes
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Place
from cloudlab.standards.rule import Found, Level, Rule, Server

_DAYS = 14
_LARGE_BYTES = 10 * 1024 * 1024
_USED = 1000


def _check(server: Server) -> Iterator[Found]:
    for index in server.facts.get("unused_indexes", []):
        if index["days"] >= _DAYS and index["size"] >= _LARGE_BYTES and (index["used_others"] or 0) >= _USED:
            yield Found(
                f"{index['index']} of {index['size'] // 1024**2} MiB was not used in {index['days']:.0f} days,"
                " others of"
                f" the table {index['used_others']:,} times",
                Place(index["table"]),
                index["index"],
                f"DROP INDEX CONCURRENTLY {index['index']}; once the standbys were asked too.",
            )


RULE = Rule(
    id="IX03",
    title="Indexes are used",
    heading="§5.1 Primary Indexes",
    level=Level.NOTE,
    why="An index that no query reads still costs each write, WAL, cache and vacuum, and keeps updates from being HOT."
    " Reported with evidence alone: statistics of two weeks, a table in use, an index of 10 MiB, no foreign key.",
    remedy="Look at the standbys too, then DROP INDEX CONCURRENTLY.",
    server=_check,
)
