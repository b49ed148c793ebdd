"""SE09: a connection over the network is encrypted.

Standard: §9.1 Encryption in Transit
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Server

_LOCAL = {"", "localhost", "127.0.0.1", "::1"}


def _check(server: Server) -> Iterator[Found]:
    listens = {one.strip() for one in server.settings.get("listen_addresses", "").split(",")}
    if server.settings.get("ssl") == "off" and listens - _LOCAL:
        yield Found(
            f"ssl is off and the server listens on {', '.join(sorted(listens - _LOCAL))}",
            name="ssl",
            remedy="ALTER SYSTEM SET ssl = on; with ssl_cert_file and ssl_key_file, hostssl in pg_hba.conf, and "
            "sslmode=verify-full in the clients.",
        )
        return
    bare = {str(row["role"]) for row in server.facts.get("connections", ()) if row["is_remote"] and not row["ssl"]}
    if bare and listens - _LOCAL:
        yield Found(f"without TLS are connected: {', '.join(sorted(bare))}", name="ssl")


RULE = Rule(
    id="SE09",
    title="A connection over the network is encrypted",
    heading="§9.1 Encryption in Transit",
    level=Level.WARNING,
    why="Without TLS whoever is on the way reads every row, and a client that does not verify the server talks to "
    "anybody.",
    remedy="ssl = on, hostssl in pg_hba.conf, sslmode=verify-full in the clients.",
    server=_check,
)
