"""OB03: what is committed is on disk.

Standard: §11.3 Operational Excellence
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Server

_LOST = {
    "fsync": "after a crash of the machine the whole cluster may be unreadable",
    "full_page_writes": "a page half written at a power failure cannot be repaired",
    "synchronous_commit": "the last transactions that were said to be committed are lost in a crash",
    "zero_damaged_pages": "a damaged page is emptied without a word",
    "ignore_checksum_failure": "a damaged page is read as if it were whole",
}
_BAD_WHEN_ON = {"zero_damaged_pages", "ignore_checksum_failure"}


def _check(server: Server) -> Iterator[Found]:
    for name, what in _LOST.items():
        bad = "on" if name in _BAD_WHEN_ON else "off"
        if server.settings.get(name) == bad:
            good = "off" if bad == "on" else "on"
            yield Found(f"{name} is {bad}: {what}", name=name, remedy=f"ALTER SYSTEM SET {name} = {good};")


RULE = Rule(
    id="OB03",
    title="What is committed is on disk",
    heading="§11.3 Operational Excellence",
    level=Level.ERROR,
    why="These settings trade the data for speed. A single transaction may do so by SET LOCAL synchronous_commit.",
    remedy="Set them back to what PostgreSQL delivers.",
    server=_check,
)
