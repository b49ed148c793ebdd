"""PB03: no password stands in the configuration of PgBouncer, and every client is its own user.

Standard: §5.3 PgBouncer Configuration
"""

from collections.abc import Iterator

from cloudlab.standards.poolers import Pooler
from cloudlab.standards.rule import Found, Level, Rule


def _check(pooler: Pooler) -> Iterator[Found]:
    for name, words in pooler.databases.items():
        at = pooler.at("databases", name)
        if words.get("password"):
            yield Found(
                "the password stands in the file, in its backups and in the repository",
                at, name, "auth_user = pgbouncer, auth_query = SELECT usename, passwd FROM pgbouncer.get_auth($1).",
            )  # fmt: skip
        if words.get("user"):
            yield Found(
                f"every client becomes {words['user']}: grants and policies for its own role do not hold",
                at,
                name,
                f"Leave user= out, so that each logs in as itself, of {name} as of others.",
            )


RULE = Rule(
    id="PB03",
    title="Every client of PgBouncer is its own user",
    heading="§5.3 PgBouncer Configuration",
    level=Level.ERROR,
    why="user= makes all clients one role: read-only is as good as admin. password= is kept as plain text.",
    remedy="Leave user= and password= out; auth_query asks the database.",
    bad=(
        "[databases]\na = host=localhost dbname=a user=cloudlab password=development",
        "[databases]\na = host=localhost user=app",
        "[databases]\n* = host=localhost password='it''s'",
    ),
    good=(
        "[databases]\na = host=localhost port=5432 dbname=a",
        "[databases]\n;a = host=localhost user=app password=x\nb = host=localhost auth_user=pgbouncer",
        "[databases]\n* = host=localhost auth_query='SELECT usename, passwd FROM pgbouncer.get_auth($1)'",
    ),
    pooler=_check,
)
