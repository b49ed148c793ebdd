"""The embedded PostgreSQL: who gets in, how it is set, what its logins may do."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.rows import class_row

from cloudlab.embedded import postgres, processes
from cloudlab.embedded.postgres_binaries import find_binaries
from cloudlab.embedded.postgres_logins import APP, LOGINS, OWNER, READONLY, WORKER
from cloudlab.errors import EmbeddedError
from cloudlab.postgres.pgbouncer import AUTH_USER
from fixtures.postgres import Cluster


@dataclasses.dataclass
class Role:
    rolname: str
    rolcanlogin: bool
    rolsuper: bool
    rolbypassrls: bool
    rolcreaterole: bool
    rolcreatedb: bool


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.PostgresServer]:
    """A durable cluster with the stack's own settings."""
    with postgres.temporary(volatile=False) as server:
        yield server


def test_every_way_in_asks_for_the_password(server: postgres.PostgresServer) -> None:
    """Over the unix socket and over TCP, with scram; the superuser too."""
    tcp = server.url("postgres").split("?")[0] + f"?host=127.0.0.1&port={server.port}"
    for url in (server.url("postgres"), tcp):
        with psycopg.connect(url) as connection:
            assert connection.pgconn.used_password
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url.replace(server.password, "wrong"))
    rules = (server.data_dir / "pg_hba.conf").read_text().splitlines()
    methods = {line.split()[-1] for line in rules if line and not line.startswith("#")}
    assert methods == {"scram-sha-256"}
    with psycopg.connect(server.url("postgres")) as connection:
        row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'").fetchone()
        assert row
        assert row[0].startswith("SCRAM-SHA-256$")


def test_the_password_file_is_gone(server: postgres.PostgresServer) -> None:
    left = {path.name for path in server.data_dir.parent.iterdir()}
    assert {name for name in left if not name.startswith(".s.PGSQL")} == {"data", "log"}


def test_settings(server: postgres.PostgresServer) -> None:
    expected = {
        "fsync": "on",
        "full_page_writes": "on",
        "synchronous_commit": "on",
        "data_checksums": "on",
        "wal_level": "logical",
        "listen_addresses": "127.0.0.1",
        "password_encryption": "scram-sha-256",
        "shared_preload_libraries": "pg_stat_statements",
        "server_encoding": "UTF8",
        "max_connections": "100",
    }
    with psycopg.connect(server.url("postgres")) as connection:
        found = {name: connection.execute(f"SHOW {name}").fetchone() for name in expected}
        assert {name: row[0] for name, row in found.items() if row} == expected
        collation = connection.execute(
            "SELECT datlocprovider, coalesce(to_jsonb(d) ->> 'datlocale', datcollate) FROM pg_database d"
            " WHERE datname = 'postgres'"
        ).fetchone()
    assert collation == (("b" if find_binaries().version >= 17 else "c"), "C.UTF-8")
    if os.geteuid() == 0:
        assert psutil.Process(server.mark.pid).uids().real != 0


def test_a_temporary_cluster_leaves_nothing() -> None:
    with postgres.temporary() as server, psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("off",)
    assert not server.data_dir.exists()
    assert processes.find(postgres.identity(server.data_dir)) is None


def test_binaries_and_their_tools(server: postgres.PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "--nonsense")
    binaries = find_binaries()
    assert binaries is find_binaries()
    assert (binaries.version, binaries.full_version.split(".")[0]) == (18, "18")
    environment = binaries.environment()
    assert "PGOPTIONS" not in environment
    assert environment["PATH"] == os.environ["PATH"]
    for tool in ("pgbench", "pg_dump", "pg_basebackup", "pg_amcheck", "psql"):
        assert processes.run([binaries.program(tool), "--version"], env=environment).startswith(tool)
    url = server.url("postgres")
    processes.run([binaries.program("pgbench"), "-i", "-q", url], env=environment)
    assert "tps" in processes.run([binaries.program("pgbench"), "-t", "10", url], env=environment)
    with pytest.raises(EmbeddedError, match="has no pg_nothing"):
        binaries.program("pg_nothing")


def test_the_order_of_search(tmp_path: Path) -> None:
    system = Path("/usr/lib/postgresql/15/bin")
    if not (system / "postgres").exists():
        pytest.skip("no PostgreSQL of the system is installed")
    found = find_binaries({"CLOUDLAB_PG_BIN": str(system)})
    assert (found.bin_dir, found.version, found.lib_dir) == (system, 15, None)
    assert "LD_LIBRARY_PATH" not in found.environment({})


def test_rights_of_the_logins(each_postgres: Cluster) -> None:
    """None is superuser or past row level security; groups cannot log in; only the owner makes roles."""
    with each_postgres.admin.cursor(row_factory=class_row(Role)) as cursor:
        roles = cursor.execute(
            """SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles
                WHERE rolname ~ '^(cloudlab|application|platform)_'"""
        ).fetchall()
    # The pooler's account comes with its configuration, which another test may have applied to this server.
    assert {role.rolname for role in roles if role.rolcanlogin} - {AUTH_USER} == set(LOGINS)
    assert [role.rolname for role in roles if role.rolsuper or role.rolbypassrls or role.rolcreatedb] == []
    assert [role.rolname for role in roles if role.rolcreaterole] == [OWNER]
    members = each_postgres.admin.execute(
        """SELECT member.rolname, granted.rolname FROM pg_auth_members
             JOIN pg_roles member ON member.oid = member JOIN pg_roles granted ON granted.oid = roleid
            WHERE member.rolname = ANY(%s)""",
        [[APP, WORKER, READONLY]],
    ).fetchall()
    assert set(members) == {
        (APP, "application_readwrite"),
        (APP, "application_readonly"),
        (WORKER, "platform_worker"),
        (READONLY, "application_readonly"),
    }


def test_the_owner_can_manage_the_groups(each_postgres: Cluster) -> None:
    """Migrations run as the owner: it can grant to the groups, and give them to others, without superuser."""
    with each_postgres.database() as name, psycopg.connect(each_postgres.url(name), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA mine")
        connection.execute("GRANT USAGE ON SCHEMA mine TO application_readwrite")
        connection.execute("CREATE ROLE passing NOLOGIN")
        connection.execute("GRANT application_readonly TO passing")
        connection.execute("DROP ROLE passing")
