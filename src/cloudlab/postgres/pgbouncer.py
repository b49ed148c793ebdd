"""A complete and safe configuration of PgBouncer for an installation, made from its shards and what its servers allow.

    [databases]   one line for each shard and login, with as many connections as the server has to give
    userlist.txt  the one login that looks the others up
    auth.sql      that login and its function, for a superuser to run in every database

Nobody is forced into one login, so roles and policies stay what they are. Sessions of CloudLab keep nothing on a
connection between transactions, so the pool mode is `transaction`. What does (migrations, readers that LISTEN) goes
straight to the servers: owner_url and worker_url.

Standard: §5.3 PgBouncer Configuration, §9.1 Encryption in Transit
"""

import base64
import hashlib
import hmac
import ipaddress
import re
import secrets
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from psycopg.conninfo import conninfo_to_dict

from cloudlab.config import Config, Limits
from cloudlab.errors import ConfigError
from cloudlab.postgres.pool import Pools, is_local

AUTH_USER = "cloudlab_pgbouncer"
LOOKUP_ROLE = "cloudlab_lookup"
# The first version that keeps named prepared statements apart in transaction mode.
PREPARES = (1, 21)
_READER_SHARE = 0.25
_ITERATIONS = 4096
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


_AUTH_SQL = Template("""\
-- Written by `cloudlab pgbouncer config`. Run it as superuser in each of: $databases.
-- $lookup_role may read the secrets and nothing else, and cannot log in; $auth_user may call the function and nothing
-- else. The function answers for the serving logins alone: not for a superuser, nor for the owner.
DO $$$$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '$lookup_role') THEN
        CREATE ROLE $lookup_role NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '$auth_user') THEN
        CREATE ROLE $auth_user LOGIN;
    END IF;
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO $auth_user', current_database());
END
$$$$;
ALTER ROLE $auth_user NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 20
    PASSWORD '$verifier';
GRANT SELECT ON pg_catalog.pg_authid TO $lookup_role;
CREATE SCHEMA IF NOT EXISTS pgbouncer AUTHORIZATION $lookup_role;
REVOKE ALL ON SCHEMA pgbouncer FROM PUBLIC;
GRANT USAGE ON SCHEMA pgbouncer TO $auth_user;
CREATE OR REPLACE FUNCTION pgbouncer.look_up(p_login text) RETURNS TABLE (login text, secret text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$$$
    SELECT a.rolname::text, a.rolpassword FROM pg_catalog.pg_authid AS a
    WHERE a.rolname = p_login AND a.rolname IN ($logins) AND a.rolcanlogin AND NOT a.rolsuper
      AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil > now())
$$$$;
ALTER FUNCTION pgbouncer.look_up(text) OWNER TO $lookup_role;
REVOKE EXECUTE ON FUNCTION pgbouncer.look_up(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgbouncer.look_up(text) TO $auth_user;
""")


@dataclass(frozen=True, slots=True)
class Line:
    """One entry of [databases]: under which name which database of which server is reached, and by how many at once."""

    name: str
    host: str
    port: str
    database: str
    login: str
    pool_size: int = 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a server allows: connections in all, those it keeps for itself, and those kept for direct logins."""

    max_connections: int
    reserved: int
    direct: int

    @property
    def available(self) -> int:
        """How many all pools together may open."""
        return self.max_connections - self.reserved - self.direct


@dataclass(frozen=True, slots=True)
class Options:
    """Where PgBouncer stands and what it runs with; `tls` is a folder with server.crt, server.key and ca.crt."""

    listen: str = "127.0.0.1"
    port: int = 6432
    tls: Path | None = None
    instances: int = 1
    version: tuple[int, int] = PREPARES
    max_clients: int = 1000


@dataclass(frozen=True, slots=True)
class Files:
    """The text of every file; `userlist` and `auth_sql` hold secrets."""

    ini: str
    userlist: str
    auth_sql: str


def installed_version(program: str = "pgbouncer") -> tuple[int, int] | None:
    """Return the version of the PgBouncer that is installed here, None without one."""
    found = shutil.which(program)
    if not found:
        return None
    printed = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"PgBouncer (\d+)\.(\d+)", printed)
    return (int(version[1]), int(version[2])) if version else None


def lines(config: Config, shards: Sequence[str] | None = None) -> list[Line]:
    """Return one line for each database and serving login: the control database, and the shards named, or all.

    Raises:
        ConfigError: A URL names no database or login, or one that would need quoting.
    """
    places = [("cloudlab_control", config.control)]
    places += [(shard.name, shard.urls) for shard in config.shards if shards is None or shard.name in shards]
    found: list[Line] = []
    for name, urls in places:
        for suffix, url in (("", urls.app_url), ("_readonly", urls.readonly_url)):
            parts = {key: str(value) for key, value in conninfo_to_dict(url).items()}
            for key in ("dbname", "user"):
                if not _IDENTIFIER.fullmatch(parts.get(key, "")):
                    raise ConfigError(f"the URL of {name}{suffix} has no {key} that PgBouncer can be given")
            host = parts.get("hostaddr") or parts.get("host") or "127.0.0.1"
            found.append(Line(name + suffix, host, parts.get("port", "5432"), parts["dbname"], parts["user"]))
    return found


async def capacities(config: Config, found: Sequence[Line]) -> dict[tuple[str, str], Capacity]:
    """Ask every server once how many connections it has to give; some stay for owner and worker logins.

    Raises:
        Unavailable: A server cannot be reached.
    """
    urls = {name: urls.app_url for name, urls in [("cloudlab_control", config.control)]}
    urls |= {shard.name: shard.urls.app_url for shard in config.shards}
    answers: dict[tuple[str, str], Capacity] = {}
    async with Pools(config.limits) as pools:
        for line in found:
            server = (line.host, line.port)
            if server in answers or line.name not in urls:
                continue
            async with pools.transaction(urls[line.name]) as transaction:
                result = await transaction.execute(
                    """
                    SELECT /* pgbouncer.capacities */ s.name, s.setting::integer FROM pg_settings AS s
                    WHERE s.name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')
                    """
                )
                settings = {str(row[0]): int(row[1]) for row in result.tuples()}
            most = settings.pop("max_connections")
            # A worker, a migration and a move at the same time, and somebody who looks what is wrong.
            answers[server] = Capacity(most, sum(settings.values()), direct=max(10, most // 5))
    return answers


def sized(found: Sequence[Line], servers: Mapping[tuple[str, str], Capacity], instances: int) -> list[Line]:
    """Share each server's connections among its lines: a quarter to the readers, all pools of all instances together.

    Raises:
        ConfigError: A server has too few connections for so many databases.
    """
    by_server: defaultdict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in found:
        by_server[line.host, line.port].append(line)
    result: list[Line] = []
    for server, group in by_server.items():
        share = servers[server].available // instances
        readers = [line for line in group if line.name.endswith("_readonly")]
        each_reader = max(1, int(share * _READER_SHARE) // max(1, len(readers)))
        each_writer = (share - each_reader * len(readers)) // max(1, len(group) - len(readers))
        if each_writer < 1:
            raise ConfigError(
                f"{server[0]}:{server[1]} has {servers[server].available} connections to give to {len(group)} pools"
                f" of {instances} PgBouncers",
                hint="Raise max_connections on the server, or spread the shards over more servers.",
            )
        for line in group:
            size = each_reader if line in readers else each_writer
            result.append(Line(line.name, line.host, line.port, line.database, line.login, size))
    return sorted(result, key=lambda line: found.index(next(one for one in found if one.name == line.name)))


def write(found: Sequence[Line], limits: Limits, options: Options) -> Files:
    """Return the configuration; the password of the look-up login is made here.

    Raises:
        ConfigError: It would listen on a network, or reach a server over one, without TLS.
    """
    remote = sorted({line.host for line in found if not is_local(line.host)})
    if not options.tls and (remote or not _is_loopback(options.listen)):
        what = f"reach {', '.join(remote)}" if remote else f"listen on {options.listen}"
        raise ConfigError(
            f"PgBouncer would {what} without TLS", hint="Give --tls a folder with server.crt, server.key and ca.crt."
        )
    password = secrets.token_urlsafe(32)
    return Files(
        _ini(found, limits, options, is_remote=bool(remote)),
        f'"{AUTH_USER}" "{password}"\n',
        _auth_sql(sorted({line.login for line in found}), sorted({line.database for line in found}), password),
    )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _ini(found: Sequence[Line], limits: Limits, options: Options, *, is_remote: bool) -> str:
    databases = [
        f"{line.name} = host={line.host} port={line.port} dbname={line.database} pool_size={line.pool_size}"
        f" max_db_connections={line.pool_size}"
        for line in found
    ]
    settings: dict[str, object] = {
        "listen_addr": options.listen,
        "listen_port": options.port,
        "unix_socket_dir": "",
        "pool_mode": "transaction",
        "auth_type": "scram-sha-256",
        "auth_file": "userlist.txt",
        "auth_user": AUTH_USER,
        "auth_query": "SELECT login, secret FROM pgbouncer.look_up($1)",
        "max_client_conn": options.max_clients,
        "default_pool_size": 1,
        "reserve_pool_size": 0,
        "query_wait_timeout": _whole(limits.pool_timeout_seconds),
        "idle_transaction_timeout": _whole(limits.idle_in_transaction_timeout_seconds),
        "server_lifetime": 3600,
        "server_idle_timeout": 600,
        "server_connect_timeout": 10,
        "tcp_keepalive": 1,
        "ignore_startup_parameters": "extra_float_digits",
        "stats_users": AUTH_USER,
        "admin_users": "",
        "log_connections": 0,
        "log_disconnections": 0,
    }
    if options.version >= PREPARES:
        settings["max_prepared_statements"] = limits.prepared_statements_max
    settings |= _tls(options, is_remote=is_remote)
    head = [
        ";; Written by `cloudlab pgbouncer config`. Start it in this folder, under an account of its own.",
        ";; One line for each shard and login; there is no user= in them: everybody comes as who they are.",
        "[databases]",
    ]
    return (
        "\n".join([*head, *databases, "", "[pgbouncer]", *(f"{name} = {value}" for name, value in settings.items())])
        + "\n"
    )


def _whole(seconds: float) -> int:
    return max(1, round(seconds))


def _tls(options: Options, *, is_remote: bool) -> dict[str, object]:
    if not options.tls:
        return {"client_tls_sslmode": "disable", "server_tls_sslmode": "disable"}
    return {
        "client_tls_sslmode": "require",
        "client_tls_key_file": options.tls / "server.key",
        "client_tls_cert_file": options.tls / "server.crt",
        "client_tls_protocols": "secure",
        "server_tls_sslmode": "verify-full" if is_remote else "prefer",
        "server_tls_ca_file": options.tls / "ca.crt",
        "server_tls_protocols": "secure",
    }


def _auth_sql(logins: Sequence[str], databases: Sequence[str], password: str) -> str:
    """Write the function by which PgBouncer learns the secrets of the serving logins, and of no other role."""
    return _AUTH_SQL.substitute(
        auth_user=AUTH_USER,
        lookup_role=LOOKUP_ROLE,
        verifier=scram_verifier(password),
        databases=", ".join(databases),
        logins=", ".join(f"'{login}'" for login in logins),
    )


def scram_verifier(password: str) -> str:
    """Return what PostgreSQL stores for a password, so that the password itself is in no statement and no log."""
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored, server = (base64.b64encode(raw).decode() for raw in (hashlib.sha256(client_key).digest(), server_key))
    return f"SCRAM-SHA-256${_ITERATIONS}:{base64.b64encode(salt).decode()}${stored}:{server}"
