"""OB11: a sequence is far from its end.

Standard: §10.1 Health Checks
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Server

_FULL = 0.7


def _check(server: Server) -> Iterator[Found]:
    for row in server.facts.get("sequences", ()):
        used = int(row["last_value"]) / int(row["max_value"]) if int(row["max_value"]) > 0 else 0.0
        if used >= _FULL and not row["cycle"]:
            yield Found(f"{used:.0%} of its numbers are used: after the last one every INSERT fails",
                        name=str(row["sequence"]))  # fmt: skip


RULE = Rule(
    id="OB11",
    title="A sequence is far from its end",
    heading="§10.1 Health Checks",
    level=Level.ERROR,
    why="An integer key ends at 2,147,483,647, and widening the column then rewrites the table while nobody can write.",
    remedy="Change the column to bigint online before it is full, and the sequence by ALTER SEQUENCE … AS bigint.",
    server=_check,
)
