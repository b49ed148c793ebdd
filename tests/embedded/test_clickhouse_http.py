"""ClickHouse's HTTP interface in front of the engine, used by its ordinary client and by bare HTTP."""

import contextlib
import datetime
import gzip
import http.client
import ipaddress
import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from urllib.parse import quote, urlsplit

import clickhouse_connect
import lz4.frame
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError

from cloudlab.embedded import clickhouse

Reply = tuple[int, dict[str, str], bytes]
UTC = datetime.UTC
ROW = (
    -5,
    2**200,
    1.5,
    Decimal("12.345678901"),
    "žluť \x00 '\\\t\n",
    b"abc",
    datetime.datetime(2026, 1, 1, 2, 3, 4, 5678, tzinfo=UTC),
    datetime.date(2020, 2, 29),
    uuid.UUID("00000000-0000-4000-8000-000000000001"),
    ["x", None],
    {"k": 3},
    "low",
    "b",
    True,
    ipaddress.ip_address("1.2.3.4"),
    None,
)
TYPES = (
    "Int64, UInt256, Float64, Decimal(38, 9), String, FixedString(3), DateTime64(6, 'UTC'), Date, UUID,"
    " Array(Nullable(String)), Map(String, UInt8), LowCardinality(String), Enum8('a' = 1, 'b' = 2), Bool, IPv4,"
    " Nullable(Int8)"
)


@pytest.fixture
def url(empty_clickhouse_url: str) -> str:
    """A database of this test."""
    server, _, database = empty_clickhouse_url.rpartition("/")
    client = clickhouse_connect.get_client(dsn=f"{server}/default")
    client.command(f"CREATE DATABASE {database} ENGINE = Atomic")
    client.close()
    return empty_clickhouse_url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """The ordinary client, with a session of its own."""
    with clickhouse_connect.get_client(dsn=url) as client:
        yield client


@pytest.fixture
def send(url: str) -> Iterator[Callable[..., Reply]]:
    """Send one request over a connection that stays open, and return status, headers and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 0, timeout=20)

    def request(
        query: str = "", body: object = None, method: str = "POST", headers: dict[str, str] | None = None
    ) -> Reply:
        who = {"X-ClickHouse-User": str(parts.username), "X-ClickHouse-Key": str(parts.password)}
        connection.request(method, f"/?{query}", body, {**who, **(headers or {})})
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()

    yield request
    connection.close()


@pytest.mark.parametrize("compression", ["lz4", "zstd", "gzip", False])
def test_every_type_goes_in_and_comes_out(url: str, compression: str | bool) -> None:
    with clickhouse_connect.get_client(dsn=url, compress=compression, tz_mode="aware") as client:
        columns = ", ".join(f"c{i} {t}" for i, t in enumerate(_split(TYPES)))
        client.command(f"CREATE TABLE t ({columns}) ENGINE = MergeTree ORDER BY c0")
        summary = client.insert("t", [ROW] * 1000)
        assert summary.written_rows == 1000
        rows = client.query("SELECT * FROM t").result_rows
        assert len(rows) == 1000
        assert rows[0] == ROW


def _split(types: str) -> list[str]:
    found, depth = [""], 0
    for mark in types:
        depth += (mark == "(") - (mark == ")")
        if mark == "," and not depth:
            found.append("")
        else:
            found[-1] += mark
    return found


def test_server_side_parameters(client: Client) -> None:
    """They are values wherever they stand, and long ones travel in a form."""
    text = "it's; DROP TABLE \\ \t\n žluť"
    given = {"s": text, "i": -(2**62), "u": [ROW[8]], "n": None, "d": Decimal("1.10"), "t": ROW[6]}
    query = "SELECT {s:String}, {i:Int64}, {u:Array(UUID)}, {n:Nullable(String)}, {d:Decimal(9, 2)}, {t:DateTime64(6)}"
    row = client.query(query, parameters=given).result_rows[0]
    assert list(row[:5]) == [text, -(2**62), [ROW[8]], None, Decimal("1.10")]
    many = [f"{i}'{text}" for i in range(2000)]
    assert client.query("SELECT {many:Array(String)}", parameters={"many": many}).result_rows == [(many,)]


def test_rows_are_streamed(client: Client) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(1000000)") as blocks:
        sizes = [len(block) for block in blocks]
    assert sum(sizes) == 1_000_000
    assert len(sizes) > 5


def test_an_error_in_the_middle_of_a_stream(client: Client) -> None:
    query = "SELECT throwIf(number = 600000, 'half way') FROM numbers(1000000)"
    with (
        pytest.raises(StreamFailureError, match="half way"),
        client.query_row_block_stream(query, settings={"max_threads": 1}) as blocks,
    ):
        for _ in blocks:
            pass
    assert client.command("SELECT 1") == 1  # the connection is still good


@pytest.mark.parametrize(
    ("statement", "code", "status"),
    [
        ("SELECT * FROM nowhere", 60, 404),
        ("SELEKT 1", 62, 400),
        ("SELECT 1; SELECT 2", 62, 400),
        ("  ", 62, 400),
        ("SELECT nothing", 47, 404),
        ("SELECT throwIf(1)", 395, 500),
        ("INSERT INTO nowhere FORMAT CSV\n1", 60, 404),
        ("SELECT 1 SETTINGS no_such_setting = 1", 115, 404),
        ("SELECT toInt8('x')", 6, 400),
    ],
)
def test_errors_carry_clickhouse_s_codes(send: Callable[..., Reply], statement: str, code: int, status: int) -> None:
    answer, headers, body = send(body=statement)
    assert (answer, headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert body.startswith(f"Code: {code}. DB::Exception: ".encode())
    assert send(body="SELECT 1")[::2] == (200, b"1\n")


def test_who_may_ask(url: str, send: Callable[..., Reply]) -> None:
    with pytest.raises(DatabaseError, match="AUTHENTICATION_FAILED") as caught:
        clickhouse_connect.get_client(dsn=url.replace("not-a-secret", "wrong"))
    assert caught.value.code == 516
    for headers in (
        {"X-ClickHouse-User": "default", "X-ClickHouse-Key": ""},
        {"X-ClickHouse-User": "cloudlab", "X-ClickHouse-Key": "not-a-secre"},
        {"X-ClickHouse-User": "", "X-ClickHouse-Key": "", "Authorization": "Basic ???"},
        {"X-ClickHouse-User": "", "X-ClickHouse-Key": "", "Authorization": "Bearer x"},
    ):
        assert send(body="SELECT 1", headers=headers)[0] == 403
    assert send("user=cloudlab&password=not-a-secret", "SELECT 1", headers={"X-ClickHouse-User": ""})[0] == 200
    ping = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port or 0)
    ping.request("GET", "/ping")
    assert ping.getresponse().read() == b"Ok.\n"
    ping.close()


def test_headers(send: Callable[..., Reply]) -> None:
    status, headers, body = send("query_id=abc&default_format=JSONEachRow", "SELECT number FROM numbers(3)")
    assert (status, len(body.splitlines())) == (200, 3)
    assert headers["X-ClickHouse-Query-Id"] == "abc"
    assert headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert headers["X-ClickHouse-Timezone"] == "UTC"
    assert json.loads(headers["X-ClickHouse-Summary"])["result_rows"] == "3"
    assert "X-ClickHouse-Format" not in send(body="CREATE TEMPORARY TABLE t (i Int8)")[1]


def test_get_only_reads(send: Callable[..., Reply]) -> None:
    assert send(f"query={quote('SELECT 1')}", method="GET")[::2] == (200, b"1\n")
    assert send(f"query={quote('CREATE DATABASE no')}", method="GET")[1]["X-ClickHouse-Exception-Code"] == "164"


@pytest.mark.parametrize("where", ["url", "body"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("coding", ["", "lz4", "gzip"])
def test_an_insert_in_every_guise(send: Callable[..., Reply], url: str, where: str, chunked: bool, coding: str) -> None:
    """Statement in the URL or before the data; with a length or in small chunks; plain or compressed."""
    database = urlsplit(url).path.strip("/")
    send(f"database={database}", "CREATE TABLE t (i Int64, s String) ENGINE = MergeTree ORDER BY i")
    head = "INSERT INTO t (i, s) SETTINGS async_insert = 0 FORMAT TabSeparated"
    rows = "".join(f"{i}\trow {i}\n" for i in range(50_000)).encode()
    data = rows if where == "url" else head.encode() + b"\n" + rows
    data = {"": bytes, "lz4": lz4.frame.compress, "gzip": gzip.compress}[coding](data)
    pieces = (data[at : at + 1000] for at in range(0, len(data), 1000)) if chunked else data
    query = f"database={database}" + (f"&query={quote(head)}" if where == "url" else "")
    status, headers, body = send(query, pieces, headers={"Content-Encoding": coding} if coding else {})
    assert (status, body) == (200, b"")
    assert json.loads(headers["X-ClickHouse-Summary"])["written_rows"] == "50000"
    assert send(f"database={database}", "SELECT count(), sum(i) FROM t")[2] == b"50000\t1249975000\n"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"not lz4", {"Content-Encoding": "lz4"}),
        (b"not zstd", {"Content-Encoding": "zstd"}),
        (b"x", {"Content-Encoding": "br"}),
        (b"--x\r\nnonsense", {"Content-Type": "multipart/form-data"}),
        (b"\xff\xfe", {}),
    ],
)
def test_bodies_that_cannot_be_read(send: Callable[..., Reply], body: bytes, headers: dict[str, str]) -> None:
    assert send(body=body, headers=headers)[0] == 400
    assert send(body="SELECT 1")[0] == 200


def test_nothing_leaks_from_one_request_to_the_next(send: Callable[..., Reply], url: str) -> None:
    """Without a session: settings, database, temporary tables."""
    send(f"database={urlsplit(url).path.strip('/')}&max_threads=3", "CREATE TEMPORARY TABLE t (i Int8)")
    assert send(body="SELECT currentDatabase(), getSetting('max_threads') = 3")[2] == b"default\t0\n"
    assert send(body="SELECT * FROM t")[0] == 404


def test_a_session_remembers(client: Client, url: str) -> None:
    """Temporary tables and SET stay; settings and database of one request do not."""
    client.command("CREATE TEMPORARY TABLE t (i Int8)")
    client.insert("t", [[1], [2]], column_names=["i"])
    client.command("SET max_threads = 3")
    threads = "SELECT getSetting('max_threads')"
    assert client.query(threads, settings={"max_threads": 1}).result_rows == [(1,)]
    assert client.query(threads).result_rows == [(3,)]
    assert client.command("SELECT sum(i) FROM t") == 3
    with clickhouse_connect.get_client(dsn=url) as other, pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
        other.command("SELECT sum(i) FROM t")


def test_sessions_are_locked_checked_and_forgotten(url: str, send: Callable[..., Reply]) -> None:
    assert send("session_id=new&session_check=1", "SELECT 1")[1]["X-ClickHouse-Exception-Code"] == "372"
    assert send("session_id=mine&session_timeout=60", "CREATE TEMPORARY TABLE t (i Int8)")[0] == 200
    with contextlib.closing(ask(url, "SELECT sleep(3)", "&session_id=mine&session_timeout=60")) as busy:
        time.sleep(1)
        assert send("session_id=mine&session_timeout=60", "SELECT 1")[1]["X-ClickHouse-Exception-Code"] == "373"
        assert busy.getresponse().read() == b"0\n"
    for _ in range(100):  # the answer is read before the session is let go, as with any ClickHouse
        status = send("session_id=mine&session_timeout=0", "SELECT count() FROM t")[0]
        if status != 423:
            break
        time.sleep(0.02)
    assert status == 200
    deadline = time.monotonic() + 10
    while send("session_id=other&session_timeout=0", "SELECT 1")[0] == 200:
        if send("session_id=mine&session_check=1&session_timeout=0", "SELECT 1")[0] == 404:
            break
        assert time.monotonic() < deadline
        time.sleep(1.2)  # the server looks once a second


def ask(url: str, statement: str | bytes, more: str = "") -> http.client.HTTPConnection:
    """Send a statement over a connection of its own, and do not wait for the answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 0, timeout=20)
    connection.request("POST", f"/?user={parts.username}&password={parts.password}{more}", statement)
    return connection


def test_many_callers_at_once(url: str) -> None:
    """More callers than statements may run at once: each waits its turn and gets its own answer."""

    def work(number: int) -> int:
        with clickhouse_connect.get_client(dsn=url, autogenerate_session_id=False) as client:
            client.insert("t", [[number, i] for i in range(100)], column_names=["caller", "i"])
            total = 0
            for _ in range(5):
                query = "SELECT sum(i) + {n:UInt64} FROM t WHERE caller = {n:UInt64}"
                total = client.query(query, parameters={"n": number}).result_rows[0][0]
            return total - number

    with clickhouse_connect.get_client(dsn=url) as client:
        client.command("CREATE TABLE t (caller UInt64, i UInt64) ENGINE = MergeTree ORDER BY caller")
        with ThreadPoolExecutor(24) as pool:
            assert list(pool.map(work, range(24))) == [4950] * 24
        assert client.command("SELECT count() FROM t") == 2400


def test_callers_that_leave_in_the_middle(url: str, client: Client) -> None:
    """Their statements end, their slots are free again, and half an insert is none."""
    for _ in range(12):
        reading = ask(url, "SELECT number, toString(number) FROM numbers(100000000) FORMAT Native")
        reading.getresponse().read(1000)
        reading.close()
    client.command("CREATE TABLE t (i Int64) ENGINE = MergeTree ORDER BY i")
    database = urlsplit(url).path.strip("/")
    for _ in range(12):
        writing = ask(url, "", f"&database={database}&query=INSERT+INTO+t+FORMAT+TSV")
        writing.getresponse().read()
        writing.putrequest("POST", f"/?user=cloudlab&password=not-a-secret&database={database}")
        writing.putheader("Transfer-Encoding", "chunked")
        writing.endheaders()
        writing.send(b"1c\r\nINSERT INTO t FORMAT TSV\n1\n2\n\r\n1000\r\n3\n")
        writing.close()
    assert client.command("SELECT count() FROM t") == 0


async def test_the_asynchronous_client(url: str) -> None:
    pytest.importorskip("aiohttp", reason="clickhouse-connect's asynchronous client needs aiohttp")
    client = await clickhouse_connect.get_async_client(dsn=url)
    try:
        await client.command("CREATE TABLE t (i Int64, s String) ENGINE = MergeTree ORDER BY i")
        await client.insert("t", [[i, f"row {i}"] for i in range(5000)], column_names=["i", "s"])
        result = await client.query("SELECT max(s) FROM t WHERE i < {n:Int64}", parameters={"n": 10})
        assert result.result_rows == [("row 9",)]
        with pytest.raises(DatabaseError, match="UNKNOWN_TABLE"):
            await client.query("SELECT * FROM nowhere")
    finally:
        await client.close()


def test_call_speaks_for_the_stack(url: str) -> None:
    assert clickhouse.call(urlsplit(url).port or 0, "not-a-secret", "SELECT 'ž'") == "ž"
