"""OB04: a damaged page is noticed.

Standard: §11.3 Operational Excellence
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Server


def _check(server: Server) -> Iterator[Found]:
    if server.settings.get("data_checksums") == "off":
        yield Found("data_checksums is off: a page that the disk spoilt is read and backed up as if it were right")


RULE = Rule(
    id="OB04",
    title="A damaged page is noticed",
    heading="§11.3 Operational Excellence",
    level=Level.WARNING,
    why="Without checksums damage is found when it is in every backup too.",
    remedy="Stop the server and run pg_checksums --enable; from PostgreSQL 18 on, initdb does it by itself.",
    server=_check,
)
