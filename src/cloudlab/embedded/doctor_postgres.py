"""Is this PostgreSQL safe to keep orders in? Asked through the application's own logins, of any server, ours or not.

Standard: §9.1 Encryption in Transit, §10.1 Health Checks
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg.rows import class_row

from cloudlab.config import Config, DatabaseUrls, Limits
from cloudlab.embedded.diagnosis import Diagnosis, Level

_MINIMUM = 150_000
_RELOAD = "As superuser: ALTER SYSTEM SET {name} = {value}; SELECT pg_reload_conf();"


@dataclass(frozen=True, slots=True)
class _Setting:
    """One setting: the values that are fine, how bad any other is, why, and how to mend it."""

    name: str
    good: tuple[str, ...]
    otherwise: Level
    why: str
    remedy: str


_SETTINGS = (
    _Setting("fsync", ("on",), "CRITICAL", "a crash of the machine can destroy the database", ""),
    _Setting("full_page_writes", ("on",), "CRITICAL", "a crash can leave torn pages that nothing repairs", ""),
    _Setting(
        "data_checksums",
        ("on",),
        "CRITICAL",
        "damage on the disk is served as data, and copied into every backup",
        "Stop the server and run `pg_checksums --enable --pgdata …`.",
    ),
    _Setting(
        "synchronous_commit",
        ("on", "local", "remote_write", "remote_apply"),
        "CRITICAL",
        "an order that was confirmed can be lost",
        _RELOAD.format(name="synchronous_commit", value="on") + " Or ALTER ROLE … RESET synchronous_commit.",
    ),
    _Setting("autovacuum", ("on",), "WARNING", "tables bloat, and one day writes stop", ""),
    _Setting("password_encryption", ("scram-sha-256",), "WARNING", "new passwords are stored as MD5", ""),
    _Setting(
        "wal_level",
        ("logical",),
        "WARNING",
        "tenants cannot be moved while they work",
        "As superuser: ALTER SYSTEM SET wal_level = logical; then restart the server.",
    ),
)
_FACTS: LiteralString = """
    SELECT current_setting('server_version_num')::int AS version,
           current_setting('server_version') AS version_text,
           current_setting('max_connections')::int AS max_connections,
           current_setting('port') || ' ' || pg_postmaster_start_time() AS server,
           current_user::text AS login,
           role.rolsuper OR role.rolbypassrls AS sees_everything,
           inet_server_addr() IS NULL OR inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1' AS is_local,
           coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS is_encrypted,
           EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements') AS has_statements,
           (SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE name = ANY(%s)) AS settings
      FROM pg_roles role
     WHERE role.rolname = current_user
"""


@dataclass(frozen=True, slots=True)
class _Facts:
    """What one login sees of its server."""

    version: int
    version_text: str
    max_connections: int
    server: str
    login: str
    sees_everything: bool
    is_local: bool
    is_encrypted: bool
    has_statements: bool
    settings: dict[str, str]


async def check(config: Config) -> list[Diagnosis]:
    """Check every database with every login; a setting of the server is reported once for each server."""
    databases = [("control", config.control), *((shard.name, shard.urls) for shard in config.shards)]
    answers = await asyncio.gather(*(_ask_all(urls) for _, urls in databases))
    found: list[Diagnosis] = []
    servers: dict[str, list[tuple[str, _Facts]]] = {}
    for (name, _), facts in zip(databases, answers, strict=True):
        found.extend(_logins(name, facts))
        for one in facts:
            if isinstance(one, _Facts):
                servers.setdefault(one.server, []).append((name, one))
    for seen in servers.values():
        found.extend(_server(seen, config.limits))
    return found


async def _ask_all(urls: DatabaseUrls) -> list[_Facts | psycopg.Error]:
    logins = (urls.app_url, urls.owner_url, urls.worker_url, urls.readonly_url)
    return list(await asyncio.gather(*map(_ask, logins)))


async def _ask(url: str) -> _Facts | psycopg.Error:
    try:
        async with (
            await psycopg.AsyncConnection.connect(url, connect_timeout=5, autocommit=True) as connection,
            connection.cursor(row_factory=class_row(_Facts)) as cursor,
        ):
            await cursor.execute(_FACTS, [[setting.name for setting in _SETTINGS]])
            return await cursor.fetchone() or psycopg.OperationalError("the login does not find its own role")
    except psycopg.Error as error:
        return error


def _logins(name: str, facts: Sequence[_Facts | psycopg.Error]) -> list[Diagnosis]:
    found: list[Diagnosis] = []
    for duty, one in zip(("app", "owner", "worker", "readonly"), facts, strict=True):
        check = f"postgres {name} {duty} login"
        if isinstance(one, psycopg.Error):
            found.append(
                Diagnosis(
                    check,
                    "CRITICAL",
                    f"cannot connect: {str(one).strip().splitlines()[-1]}",
                    f"Check {duty}_url of {name}, and that the server runs and lets this login in.",
                )
            )
        elif one.sees_everything and duty != "owner":
            found.append(
                Diagnosis(
                    check,
                    "CRITICAL",
                    f"{one.login} is superuser or BYPASSRLS: no tenant is separated from another",
                    f"ALTER ROLE {one.login} NOSUPERUSER NOBYPASSRLS; or give {duty}_url a login of its own.",
                )
            )
    if not found:
        found.append(Diagnosis(f"postgres {name}", "OK", "all four logins work"))
    return found


def _server(seen: Sequence[tuple[str, _Facts]], limits: Limits) -> list[Diagnosis]:
    facts = seen[0][1]
    names = ", ".join(dict.fromkeys(name for name, _ in seen))
    found = [_version(facts, names)]
    for setting in _SETTINGS:
        # A role can have a setting of its own: the worst that any login sees counts.
        values = {one.settings.get(setting.name, "unknown") for _, one in seen}
        bad = sorted(values - set(setting.good))
        if bad:
            remedy = setting.remedy or _RELOAD.format(name=setting.name, value=setting.good[0])
            message = f"{setting.name} is {bad[0]} ({names}): {setting.why}"
            found.append(Diagnosis(f"postgres {setting.name}", setting.otherwise, message, remedy))
        else:
            found.append(Diagnosis(f"postgres {setting.name}", "OK", f"{setting.name} is {values.pop()}"))
    found.extend(_warnings(facts, names, limits, databases=len({name for name, _ in seen})))
    return found


def _version(facts: _Facts, names: str) -> Diagnosis:
    if facts.version < _MINIMUM:
        text = f"PostgreSQL {facts.version_text} ({names}) is older than 15"
        return Diagnosis("postgres version", "CRITICAL", text, "Upgrade the server to PostgreSQL 15 or later.")
    return Diagnosis("postgres version", "OK", f"PostgreSQL {facts.version_text} ({names})")


def _warnings(facts: _Facts, names: str, limits: Limits, databases: int) -> list[Diagnosis]:
    found: list[Diagnosis] = []
    if not facts.is_local and not facts.is_encrypted:
        text = f"connections to {names} cross a network unencrypted"
        found.append(Diagnosis("postgres tls", "CRITICAL", text, "Add sslmode=verify-full to the URLs."))
    if not facts.has_statements:
        remedy = "Add pg_stat_statements to shared_preload_libraries, restart, CREATE EXTENSION pg_stat_statements;"
        text = f"pg_stat_statements is missing ({names}): slow queries cannot be named"
        found.append(Diagnosis("postgres pg_stat_statements", "WARNING", text, remedy))
    wanted = limits.pool_max_size * databases
    if wanted > facts.max_connections - 10:
        text = f"one process may open {wanted} connections, the server allows {facts.max_connections}"
        remedy = "Lower pool_max_size, raise max_connections, or put a pooler between."
        found.append(Diagnosis("postgres connections", "WARNING", text, remedy))
    return found
