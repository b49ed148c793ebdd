"""PB02: PgBouncer that listens to the network speaks TLS.

Standard: §5.3 PgBouncer Configuration
"""

from collections.abc import Iterator

from cloudlab.standards.poolers import Pooler
from cloudlab.standards.rule import Found, Level, Rule

_BARE = {"", "disable", "allow", "prefer"}
_LOCAL = {"", "localhost", "127.0.0.1", "::1"}


def _check(pooler: Pooler) -> Iterator[Found]:
    if pooler.is_open and pooler.settings.get("client_tls_sslmode", "") in _BARE:
        yield Found(
            f"listens on {pooler.settings['listen_addr']} and does not ask clients for TLS",
            pooler.at("pgbouncer", "listen_addr"),
            "listen_addr",
            "listen_addr = 127.0.0.1, or client_tls_sslmode = require with client_tls_key_file and _cert_file.",
        )
    mode = pooler.settings.get("server_tls_sslmode", "prefer")
    for name, words in pooler.databases.items():
        host = words.get("host", "")
        if not host.startswith("/") and host not in _LOCAL and mode not in {"verify-full", "verify-ca"}:
            yield Found(
                f"talks to {host} with server_tls_sslmode = {mode}: it does not notice when somebody else answers",
                pooler.at("databases", name),
                name,
                "server_tls_sslmode = verify-full and server_tls_ca_file.",
            )


RULE = Rule(
    id="PB02",
    title="PgBouncer that listens to the network speaks TLS",
    heading="§5.3 PgBouncer Configuration",
    level=Level.WARNING,
    why="Queries, rows and passwords pass through it. require encrypts and verifies nobody; verify-full does both.",
    remedy="client_tls_sslmode = require, server_tls_sslmode = verify-full.",
    bad=(
        "[pgbouncer]\nlisten_addr = 0.0.0.0\nauth_type = scram-sha-256",
        "[pgbouncer]\nlisten_addr = *\nclient_tls_sslmode = prefer",
        "[databases]\na = host=db.example.com port=5432\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        "server_tls_sslmode = require",
    ),
    good=(
        "[databases]\na = host=127.0.0.1\n[pgbouncer]\nlisten_addr = 127.0.0.1",
        "[databases]\na = host=/var/run/postgresql\n[pgbouncer]\nunix_socket_dir = /run/pgbouncer",
        "[databases]\na = host=db.example.com\n[pgbouncer]\nlisten_addr = 0.0.0.0\nclient_tls_sslmode = require\n"
        "server_tls_sslmode = verify-full",
    ),
    pooler=_check,
)
