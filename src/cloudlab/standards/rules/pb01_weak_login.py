"""PB01: PgBouncer asks for SCRAM.

Standard: §5.3 PgBouncer Configuration
"""

from collections.abc import Iterator

from cloudlab.standards.poolers import Pooler
from cloudlab.standards.rule import Found, Level, Rule

_WEAK = {
    "md5": "an md5 hash from its file is as good as the password",
    "plain": "passwords cross the network as they are",
    "trust": "whoever names a user is that user",
    "any": "whoever connects is let in as one user",
}


def _check(pooler: Pooler) -> Iterator[Found]:
    kind = pooler.settings.get("auth_type", "md5").lower()  # what PgBouncer does when nothing is said
    if kind in _WEAK and pooler.settings:
        yield Found(
            f"auth_type is {kind}: {_WEAK[kind]}",
            pooler.at("pgbouncer", "auth_type"),
            "auth_type",
            "auth_type = scram-sha-256, with auth_user and auth_query.",
        )


RULE = Rule(
    id="PB01",
    title="PgBouncer asks for SCRAM",
    heading="§5.3 PgBouncer Configuration",
    level=Level.ERROR,
    why="The pooler is the door of the database: with md5, plain or trust it is easier to open than the database is.",
    remedy="auth_type = scram-sha-256.",
    bad=(
        "[pgbouncer]\nauth_type = md5\nauth_file = /etc/pgbouncer/userlist.txt",
        "[pgbouncer]\npool_mode = transaction\nauth_type=trust",
        "[databases]\na = host=db\n[pgbouncer]\npool_mode = transaction",
    ),
    good=(
        "[pgbouncer]\nauth_type = scram-sha-256",
        "[pgbouncer]\nauth_type = cert\nclient_tls_sslmode = verify-full",
        "[pgbouncer]\nauth_type = hba\n;auth_type = md5",
    ),
    pooler=_check,
)
