"""SE10: passwords are checked by SCRAM.

Standard: §9.2 Role-Based Access
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Server

_LOOPBACK = {None, "127.0.0.1", "::1", "localhost"}


def _check(server: Server) -> Iterator[Found]:
    if server.settings.get("password_encryption") == "md5":
        yield Found(
            "passwords are stored as md5",
            name="password_encryption",
            remedy="ALTER SYSTEM SET password_encryption = 'scram-sha-256'; and set every password again.",
        )
    old = sorted(str(row["role"]) for row in server.facts.get("passwords", ()) if row["kind"] == "md5")
    if old:
        yield Found(f"md5 passwords are still in use: {', '.join(old)}", name="pg_authid")
    for row in server.facts.get("hba", ()):
        if row["method"] in {"trust", "md5", "password"} and row["address"] not in _LOOPBACK:
            what = "lets anybody in without a password" if row["method"] == "trust" else "does not ask for SCRAM"
            yield Found(
                f"line {row['line']} of pg_hba.conf ({row['address']}, {row['method']}) {what}",
                name="pg_hba.conf",
                remedy="Write scram-sha-256 there, and SELECT pg_reload_conf();",
            )


RULE = Rule(
    id="SE10",
    title="Passwords are checked by SCRAM",
    heading="§9.2 Role-Based Access",
    level=Level.WARNING,
    why="An md5 hash is as good as the password to whoever reads it, and is guessed fast; PostgreSQL 18 warns of it.",
    remedy="password_encryption = scram-sha-256, new passwords, scram-sha-256 in pg_hba.conf.",
    server=_check,
)
