"""The databases of the embedded PostgreSQL and who may log in to them.

Four logins, one for each duty, so that no process holds more rights than its work needs; three groups the application
logins belong to. The groups are made as cloudlab_owner, so that the migrations, which run as that login, may grant to
them and drop them.

Standard: §9.2 Access Control
"""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from cloudlab.errors import EmbeddedError

OWNER, APP, WORKER, READONLY = "cloudlab_owner", "cloudlab_app", "cloudlab_worker", "cloudlab_readonly"
LOGINS = (OWNER, APP, WORKER, READONLY)
CONTROL_DATABASE = "cloudlab_control"
_GROUPS: dict[str, tuple[str, ...]] = {
    "application_readonly": (APP, READONLY),
    "application_readwrite": (APP,),
    "application_admin": (),
    "platform_worker": (WORKER,),
}
_ATTEMPTS = 10
_PAUSE_SECONDS = 0.2
_SHARD_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")
_RESERVED = frozenset(("postgres", "template0", "template1", CONTROL_DATABASE))

_Connection = psycopg.Connection[tuple[Any, ...]]


def check_shard(name: str, region: str) -> None:
    """Refuse what cannot be a database name in every tool and URL; EmbeddedError says which."""
    if not _SHARD_NAME.fullmatch(name) or name in _RESERVED:
        raise EmbeddedError(
            f"{name!r} cannot be the name of a shard",
            hint="Use up to 48 lower case letters, digits and underscores, a letter first, e.g. eu_west_002.",
        )
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,47}", region):
        raise EmbeddedError(f"{region!r} cannot be the name of a region", hint="For example eu-west-1.")


def provision(url: str, shards: Sequence[str], passwords: Mapping[str, str]) -> str:
    """Create the logins, groups and databases that are missing, 15 ms when none is; return the server's version.

    Args:
        url: The superuser's URL of the database template1: what is made there is in every database made after.
        shards: The names of the shard databases.
        passwords: One for each of LOGINS.

    Raises:
        EmbeddedError: The server refuses; most likely the secrets do not belong to this data.
    """
    version, missing = _provision_patiently(url, [CONTROL_DATABASE, *shards], passwords)
    if missing:
        _create_databases(url, missing)
    return version.split()[0]


def _provision_patiently(url: str, databases: Sequence[str], passwords: Mapping[str, str]) -> tuple[str, list[str]]:
    """Make logins and groups; return the server's version and the databases that are missing.

    A backend that was killed takes all connections with it and the server recovers: what was cut off is done again.
    """
    for attempt in range(_ATTEMPTS):
        try:
            with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
                _logins(connection, passwords)
                _groups(connection)
                _let_owner_move(connection)
                missing = _missing_databases(connection, databases)
                if missing:
                    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
                return connection.info.parameter_status("server_version") or "", list(missing)
        except psycopg.Error as error:
            if attempt == _ATTEMPTS - 1 or not isinstance(error, psycopg.OperationalError):
                raise EmbeddedError(f"cannot prepare the databases: {error}".strip()) from error
            time.sleep(_PAUSE_SECONDS)
    raise AssertionError("unreachable")


def _logins(connection: _Connection, passwords: Mapping[str, str]) -> None:
    rows = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(LOGINS)]).fetchall()
    known = {str(row[0]) for row in rows}
    for login in LOGINS:
        if login not in known:
            # The verifier is sent, never the password: statements may be logged.
            verifier = connection.pgconn.encrypt_password(
                passwords[login].encode(), login.encode(), b"scram-sha-256"
            ).decode()
            rights = sql.SQL("CREATEROLE" if login == OWNER else "NOCREATEROLE")
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOBYPASSRLS {} PASSWORD {}").format(
                    sql.Identifier(login), rights, sql.Literal(verifier)
                )
            )


def _groups(connection: _Connection) -> None:
    rows = connection.execute(
        """
        SELECT role.rolname, coalesce(array_agg(login.rolname::text) FILTER (WHERE login.oid IS NOT NULL), '{}')
          FROM pg_roles role
          LEFT JOIN pg_auth_members member ON member.roleid = role.oid
          LEFT JOIN pg_roles login ON login.oid = member.member
         WHERE role.rolname = ANY(%s)
         GROUP BY role.rolname
        """,
        [list(_GROUPS)],
    ).fetchall()
    known: dict[str, list[str]] = {str(row[0]): row[1] for row in rows}
    connection.execute(sql.SQL("SET SESSION AUTHORIZATION {}").format(sql.Identifier(OWNER)))
    for group, members in _GROUPS.items():
        if group not in known:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(group)))
        for login in members:
            if login not in known.get(group, []):
                connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(login)))
    connection.execute("RESET SESSION AUTHORIZATION")


def _let_owner_move(connection: _Connection) -> None:
    """Let the owner move tenants: it follows the log of a shard, and writes copies that no trigger changes."""
    (may,) = connection.execute(
        """
        SELECT rolreplication AND has_parameter_privilege(rolname, 'session_replication_role', 'SET')
          FROM pg_roles WHERE rolname = %s
        """,
        [OWNER],
    ).fetchone() or (False,)
    if not may:
        owner = sql.Identifier(OWNER)
        connection.execute(sql.SQL("ALTER ROLE {} REPLICATION").format(owner))
        connection.execute(sql.SQL("GRANT SET ON PARAMETER session_replication_role TO {}").format(owner))


def _missing_databases(connection: _Connection, names: Sequence[str]) -> list[str]:
    rows = connection.execute("SELECT datname FROM pg_database WHERE datname = ANY(%s)", [list(names)]).fetchall()
    known = {str(row[0]) for row in rows}
    return [name for name in names if name not in known]


def _create_databases(url: str, names: Sequence[str]) -> None:
    """Create databases from template1, which nobody may be connected to meanwhile."""
    everybody = sql.SQL(", ").join(map(sql.Identifier, LOGINS))
    try:
        with psycopg.connect(url, dbname="postgres", autocommit=True, connect_timeout=10) as connection:
            for name in names:
                database = sql.Identifier(name)
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(OWNER)))
                connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
                connection.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(database, everybody))
    except psycopg.Error as error:
        raise EmbeddedError(f"cannot create the databases {', '.join(names)}: {error}".strip()) from error
