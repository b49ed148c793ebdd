"""SE06: no application connects as a superuser.

Standard: §9.2 Role-Based Access
"""

from collections import Counter
from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Server

_A_POOL = 3


def _check(server: Server) -> Iterator[Found]:
    roles = server.facts.get("roles", ())
    above = {str(row["role"]) for row in roles if row["superuser"] and not row.get("is_ours")}
    counts = Counter(str(row["role"]) for row in server.facts.get("connections", ()))
    for role in sorted(above):
        if counts[role] >= _A_POOL:
            yield Found(
                f"{counts[role]} connections at once are those of an application, and {role} is a superuser",
                name=role,
                remedy="CREATE ROLE app LOGIN; GRANT what it needs; and connect as that.",
            )


RULE = Rule(
    id="SE06",
    title="No application connects as a superuser",
    heading="§9.2 Role-Based Access",
    level=Level.ERROR,
    why="A superuser passes every policy and grant by, reads files of the server and runs programs on it: one injected "
    "statement is the whole machine.",
    remedy="Let the application log in as a role with the rights it needs.",
    server=_check,
)
