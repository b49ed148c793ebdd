"""What was acknowledged is there after kill -9, in all three servers."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import clickhouse_connect
import psutil
import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from valkey import Valkey

from cloudlab.embedded import clickhouse, postgres, valkey
from cloudlab.embedded.accounts import Account
from cloudlab.embedded.processes import Mark
from fixtures.folders import server_folder

KILLS = 5
_PASSWORD = "not-a-secret"


def write_until_killed(mark: Mark, write: Callable[[int], None], first: int) -> int:
    """Write first, first + 1, … while the server is killed after 0.1 to 0.4 s; return the last number acknowledged."""
    acknowledged = first - 1
    end = threading.Timer(random.uniform(0.1, 0.4), psutil.Process(mark.pid).kill)
    end.start()
    with contextlib.suppress(Exception):  # whatever the client says when its server dies
        while True:
            write(acknowledged + 1)
            acknowledged += 1
    end.join()
    process = psutil.Process(mark.pid) if psutil.pid_exists(mark.pid) else None
    while process and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.005)
    assert acknowledged >= first, "the server was killed before it had acknowledged anything"
    return acknowledged


@pytest.fixture
def folder() -> Iterator[tuple[Path, Account | None]]:
    with server_folder("kill") as made:
        yield made


def test_clickhouse_loses_no_acknowledged_insert(folder: tuple[Path, Account | None]) -> None:
    home, account = folder
    last, mark = 0, None
    try:
        for _ in range(KILLS):
            server = clickhouse.start(home, log=home / "log", password=_PASSWORD, account=account)
            mark = server.mark
            with clickhouse_connect.get_client(dsn=server.url(_PASSWORD), query_retries=0) as client:
                client.command("CREATE TABLE IF NOT EXISTS t (i UInt64) ENGINE = MergeTree ORDER BY i")

                def write(number: int, client: Client = client) -> None:
                    client.insert("t", [[number]], column_names=["i"])

                assert client.query(
                    "SELECT count(), uniqExact(i) FROM t WHERE i <= {n:UInt64}", {"n": last}
                ).result_rows == [(last, last)]
                # One more may be there than was acknowledged: its answer was lost, not its row.
                last = max(last, client.command("SELECT max(i) FROM t"))
                last = write_until_killed(mark, write, last + 1)
    finally:
        if mark:
            clickhouse.stop(home, mark)


def test_postgres_loses_no_acknowledged_commit(folder: tuple[Path, Account | None]) -> None:
    home, account = folder
    data = home / "data"
    binaries = postgres.find_binaries()
    postgres.initialise(binaries, data, password=_PASSWORD, account=account)
    last, mark = 0, None
    try:
        for _ in range(KILLS):
            server = postgres.start(
                binaries, data, socket_dir=home, log=home / "log", account=account, password=_PASSWORD
            )
            mark = server.mark
            with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS t (i bigint PRIMARY KEY)")
                row = connection.execute("SELECT count(*), coalesce(max(i), 0) FROM t").fetchone()
                assert row
                assert row[0] == row[1] >= last
                last = write_until_killed(
                    mark, lambda n, c=connection: c.execute("INSERT INTO t VALUES (%s)", [n]), row[1] + 1
                )
    finally:
        postgres.stop(data, mark)


def test_valkey_keeps_what_it_acknowledged_when_it_is_killed(folder: tuple[Path, Account | None]) -> None:
    """Its log is written before the answer; only a crash of the machine may cost the last second."""
    home, account = folder
    last, mark = 0, None
    try:
        for _ in range(KILLS):
            server = valkey.start(home, socket_dir=home, log=home / "log", password=_PASSWORD, account=account)
            mark = server.mark
            with Valkey(unix_socket_path=str(server.socket), password=_PASSWORD) as client:
                assert int(client.get("n") or 0) >= last
                last = write_until_killed(mark, lambda n, c=client: c.set("n", n), last + 1)
    finally:
        if mark:
            valkey.stop(home, mark)
