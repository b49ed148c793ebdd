"""One CSV file from a stranger: bounded, line by line, and never more than an InvalidInput."""

import gzip
import os
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudlab.errors import InvalidInput
from cloudlab.shop import rows
from cloudlab.shop.rows import Row, Table

COLUMNS = ("key", "value")


def table(folder: Path, content: bytes, name: str = "things.csv") -> Table:
    (folder / name).write_bytes(content)
    return Table(folder / name, COLUMNS)


def accepted(things: Table) -> list[tuple[int, tuple[str, ...]]]:
    found: list[Row] = []
    things.each(found.append)
    return [(row.line, row.values) for row in found]


def test_rows_keep_their_line_whatever_is_refused_between_them(tmp_path: Path) -> None:
    things = table(tmp_path, b'\xef\xbb\xbfvalue, key ,more\r\n1,a,x\r\n\r\n"2,b,x\n3,"c,""",x\n4,d\n\xff,e,x\n5,f,x')
    assert accepted(things) == [(2, ("a", "1")), (5, ('c,"', "3")), (8, ("f", "5"))]
    assert [(each.line, each.row) for each in things.rejects] == [(4, '"2,b,x'), (6, "4,d"), (7, "\\xff,e,x")]
    assert things.refused == {"b": 1, "d": 1, "e": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "things.csv must have the column key exactly once; expected key, value; found "),
        (b"a,b,c\n1,2,3\n", "found a, b, c"),
        (b"key;value\n1;2\n", "found key;value"),
        (b"key,value,key\n", "must have the column key exactly once"),
        (b"\xff\xfek\x00e\x00", "things.csv: the row is not UTF-8 at byte 1; expected a header with key, value"),
        (b"key,\x00value\n", "things.csv: the row holds the control character U+0000"),
        (b'"key,value\n', "things.csv: a quote is not closed on its line"),
        (b"x" * 100_000, "things.csv: the row is longer than 65,536 bytes; expected a header"),
    ],
)
def test_a_file_without_its_columns_is_an_error_naming_both(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        accepted(table(tmp_path, content))
    assert message in caught.value.message


def test_a_truncated_or_false_gzip_is_an_error(tmp_path: Path) -> None:
    packed = gzip.compress(b"key,value\n" + os.urandom(500).hex().encode())
    for content in (packed[: len(packed) // 2], packed[:-9], b"not gzip", b"", packed[:30] + b"\0" * 30):
        with pytest.raises(InvalidInput, match=r"things\.csv\.gz"):
            accepted(table(tmp_path, content, "things.csv.gz"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    things = table(tmp_path, b"key,value\n")
    things.path.chmod(0)
    with pytest.raises(InvalidInput, match=r"things\.csv is not a readable file: .*Permission denied"):
        accepted(things)


def test_a_gigantic_line_takes_no_gigantic_memory(tmp_path: Path) -> None:
    path = tmp_path / "things.csv.gz"
    with gzip.open(path, "wb") as target:
        target.write(b"key,value\nHUGE,")
        for _ in range(64):
            target.write(b"x" * 1_000_000)
        target.write(b"\na,1\n")
    things = Table(path, COLUMNS)
    assert accepted(things) == [(3, ("a", "1"))]
    assert [each.reason for each in things.rejects] == ["the row is longer than 65,536 bytes"]
    assert len(things.rejects[0].row) == 300
    assert things.refused == {"HUGE": 1}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), header=st.booleans(), packed=st.sampled_from(["", "whole", "false"]))
def test_arbitrary_bytes_are_rows_rejects_or_an_error(
    tmp_path: Path, content: bytes, header: bool, packed: str
) -> None:
    text = b"key,value\n" + content if header else content
    name = "things.csv.gz" if packed else "things.csv"
    things = table(tmp_path, gzip.compress(text) if packed == "whole" else text, name)
    try:
        found = accepted(things)
    except InvalidInput as error:
        named = name in error.message
    else:
        named = header
        assert len(found) + len(things.rejects) <= content.count(b"\n") + 1
        assert not any(ord(letter) < 32 for each in things.rejects for letter in each.row)
    assert named


@given(st.one_of(st.text(), st.decimals(), st.floats(), st.integers()).map(str))
def test_an_amount_is_what_numeric_19_4_holds_or_refused(value: str) -> None:
    try:
        amount = rows.amount(value, "price")
    except InvalidInput:
        return
    assert amount == Decimal(value)
    assert amount == round(amount, 4)
    assert 0 <= amount <= rows.LARGEST_AMOUNT


@pytest.mark.parametrize(
    ("value", "mended"),
    [
        ("8.379999999999999", "8.3800"),
        ("0.30000000000000004", "0.3000"),
        ("2.50", "2.50"),
        ("2.50001", "2.50001"),
        ("-2.4699999999999998", "-2.4700"),
        ("nan", "nan"),
        ("9" * 30, "9" * 30),
    ],
)
def test_only_the_noise_of_floats_is_mended(value: str, mended: str) -> None:
    assert rows.without_float_noise(value) == mended


@pytest.mark.parametrize("value", ["2025-01-01T00:00:00+02:00", "2024-12-31T22:00Z", "20241231T220000Z"])
def test_a_moment_is_in_utc(value: str) -> None:
    assert rows.moment(value, "created_at").isoformat() == "2024-12-31T22:00:00+00:00"


def test_control_characters_are_refused_and_shown_escaped(tmp_path: Path) -> None:
    things = table(tmp_path, "key,value\na,\x1b[31mred\nb,\u2028\nc,\x85\nd,\t\ne,caf\u00e9 \U0001f600\n".encode())
    assert accepted(things) == [(6, ("e", "caf\u00e9 \U0001f600"))]
    assert [each.row for each in things.rejects] == ["a,\\x1b[31mred", "b,\\x2028", "c,\\x85", "d,\\x09"]
    assert "U+001B" in things.rejects[0].reason
