"""Where a statement ends and its data begins."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudlab.embedded import clickhouse_statement
from cloudlab.embedded.clickhouse_statement import Statement, parse


@pytest.mark.parametrize(
    ("text", "name", "data"),
    [
        ("INSERT INTO t FORMAT Native\n\x01\x02", "Native", "\x01\x02"),
        ("insert into t (a, b) format CSV 1,2", "CSV", "1,2"),
        ("INSERT INTO t FORMAT CSV\r\n1", "CSV", "1"),
        ("INSERT INTO t FORMAT CSV;\n\n1", "CSV", "\n1"),
        ("INSERT INTO `FORMAT x` (`FORMAT`) SETTINGS a = 'FORMAT TSV' FORMAT JSONEachRow {}", "JSONEachRow", "{}"),
        ("-- FORMAT A\n/* FORMAT B */ INSERT INTO t FORMAT C d", "C", "d"),
        ("INSERT INTO db.format FORMAT CSV 1", "CSV", "1"),
        ("INSERT INTO format FORMAT CSV 1", "CSV", "1"),
        ("INSERT INTO FUNCTION file('x', 'CSV', 'a Int8') FORMAT CSV 1", "CSV", "1"),
        ("INSERT INTO t FORMAT Values (1), ('; FORMAT x')", "Values", "(1), ('; FORMAT x')"),
    ],
)
def test_data_follows_the_format(text: str, name: str, data: str) -> None:
    found = parse(text.encode("latin-1"))
    assert (found.keyword, found.format, found.several) == ("INSERT", name, False)
    assert text[found.data_at :] == data
    assert text[found.head_end :].lower().startswith("format ")


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t VALUES (1, 'a;b'), (2, 'FORMAT CSV')",
        "INSERT INTO t SELECT 1 FORMAT Null",
        "INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x",
        "INSERT INTO t (a) VALUES",
    ],
)
def test_inserts_that_bring_their_rows_along(text: str) -> None:
    found = parse(text.encode())
    assert (found.keyword, found.data_at, found.several) == ("INSERT", -1, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1", Statement("SELECT")),
        ("SELECT 1 FORMAT JSON", Statement("SELECT", "JSON")),
        ("SELECT 1 FORMAT JSON SETTINGS a = 1, b = 'x';  -- done", Statement("SELECT", "JSON")),
        ("SELECT format FROM t", Statement("SELECT")),
        ("SELECT format('{}', x) FROM t", Statement("SELECT")),
        ("SELECT 'FORMAT JSON'", Statement("SELECT")),
        ("SELECT (SELECT 1 FORMAT JSON)", Statement("SELECT")),
        ("(SELECT 1) UNION ALL (SELECT 2) FORMAT CSV", Statement("SELECT", "CSV")),
        ("WITH 1 AS x SELECT x", Statement("WITH")),
        ("SELECT 1;;", Statement("SELECT", several=True)),
        ("SELECT 1; DROP TABLE t", Statement("SELECT", several=True)),
        ("SELECT ';' /* ; */ -- ;\n", Statement("SELECT")),
        ("SELECT $a$;$a$", Statement("SELECT")),
        ("", Statement("")),
        ("  -- nothing", Statement("")),
        (";", Statement(";")),
    ],
)
def test_statements(text: str, expected: Statement) -> None:
    assert parse(text.encode()) == expected


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("SELECT 1", True),
        ("(SELECT 1)", True),
        ("EXPLAIN SELECT 1", True),
        ("DROP TABLE t", False),
        ("SET a = 1", False),
    ],
)
def test_what_only_reads(text: str, reads: bool) -> None:
    assert parse(text.encode()).reads is reads


@given(rows=st.binary(max_size=200), cuts=st.lists(st.integers(0, 250), max_size=6))
def test_the_seam_is_found_wherever_the_body_is_cut(rows: bytes, cuts: list[int]) -> None:
    """However the network cuts the body, the data after the seam is the data that was sent."""
    head = b"INSERT INTO t (a, `b'c`) SETTINGS x = 'FORMAT \\' CSV' /* FORMAT TSV */ FORMAT Native\n"
    body = head + b"x" + rows
    edges = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    chunks = iter([body[a:b] for a, b in itertools.pairwise(edges)])
    statement, read = clickhouse_statement.read(chunks)
    assert statement.format == "Native"
    assert read[statement.data_at :] + b"".join(chunks) == b"x" + rows


def test_a_statement_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clickhouse_statement, "_MAX_TEXT_BYTES", 100)
    with pytest.raises(clickhouse_statement.TooLarge):
        clickhouse_statement.read(iter([b"SELECT '" + b"x" * 100]))
