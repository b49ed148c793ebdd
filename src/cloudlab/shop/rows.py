"""The rows of one CSV file from somebody else, and the values in them, checked before anything believes them.

One row is one line, so that a refusal can name it and a quote left open cannot swallow the rows behind it. A
row that is not right is recorded as a Rejected and the reading goes on; only a file that cannot be read, or
has not the columns it needs, ends it with InvalidInput. Memory per line is bounded, whatever the file or its
gzip stream contains.
"""

import csv
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from cloudlab.errors import InvalidInput
from cloudlab.shop.dataset import MAX_STOCK, Rejected

LONGEST_LINE_BYTES = 65_536
LONGEST_KEY = 50
LONGEST_NAME = 255
LARGEST_AMOUNT = Decimal("999999999999999.9999")
_FLOAT_NOISE = Decimal("1e-9")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")

# Those in use, and those withdrawn since 2014, because a shop's history reaches back.
_ISO_4217 = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BYR BZD CAD
CDF CHF CLP CNY COP CRC CUC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ
GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR
LRD LSL LTL LYD MAD MDL MGA MKD MMK MNT MOP MRO MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB
PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STD STN SVC SYP
SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VEF VES VND VUV WST XAF XCD XCG XOF XPF YER
ZAR ZMW ZWG ZWL
"""
CURRENCIES = frozenset(_ISO_4217.split())


class Row(NamedTuple):
    """A row: its line in the file, its bytes, and the values of the table's columns in their order."""

    line: int
    raw: bytes
    values: tuple[str, ...]


@dataclass(slots=True)
class Table:
    """One file, read row by row, and what was refused of it.

    `columns` are the ones needed, the key first; the file may hold them in any order and more besides.
    `refused` counts refusals by the key of the row, as far as a key can be made out in it.
    """

    path: Path
    columns: tuple[str, ...]
    rejects: list[Rejected] = field(default_factory=list[Rejected])
    refused: Counter[str] = field(default_factory=Counter[str])

    def each(self, accept: Callable[[Row], None]) -> None:
        """Give every row to `accept`; an InvalidInput from it, or a row out of shape, becomes a reject.

        Raises:
            InvalidInput: The file cannot be read to its end, or its header lacks a column.
        """
        lines = _lines(self.path)
        names = self._header(next(lines, b""))
        pick = itemgetter(*(names.index(column) for column in self.columns))
        for number, raw in enumerate(lines, start=2):
            if raw.isspace():
                continue
            try:
                fields = _fields(_text(raw))
                if len(fields) != len(names):
                    raise InvalidInput(f"the row has {len(fields)} fields, the header {len(names)}")
                accept(Row(number, raw, pick(fields)))
            except InvalidInput as refusal:
                self.refuse(number, raw, refusal.message)
                self.refused.update(_guessed_field(raw, names.index(self.columns[0])))

    def refuse(self, line: int, raw: bytes, reason: str) -> None:
        """Record that the row on this line was refused, and why."""
        self.rejects.append(Rejected(self.path.name, line, reason, _printable(raw)))

    def _header(self, raw: bytes) -> list[str]:
        expected = ", ".join(self.columns)
        try:
            names = [name.strip() for name in _fields(_text(raw).removeprefix("\ufeff"))]
        except InvalidInput as error:
            raise InvalidInput(f"{self.path.name}: {error.message}; expected a header with {expected}") from error
        if missing := [column for column in self.columns if names.count(column) != 1]:
            problem = f"{self.path.name} must have the column {missing[0]} exactly once"
            raise InvalidInput(f"{problem}; expected {expected}; found {shown(', '.join(names))}")
        return names


def _lines(path: Path) -> Iterator[bytes]:
    """Yield a file's lines; one that is too long is cut just above the limit, to bound memory."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as source:
            while line := source.readline(LONGEST_LINE_BYTES + 1):
                yield line
                while line and not line.endswith(b"\n"):
                    line = source.readline(LONGEST_LINE_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        kind = "a complete gzip file" if path.suffix == ".gz" else "a readable file"
        raise InvalidInput(f"{path.name} is not {kind}: {error}", hint="Copy the file again.") from error


def _text(raw: bytes) -> str:
    if len(raw) > LONGEST_LINE_BYTES:
        raise InvalidInput(f"the row is longer than {LONGEST_LINE_BYTES:,} bytes")
    try:
        text = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the row is not UTF-8 at byte {error.start + 1}") from None
    if not text.isprintable() and (found := _CONTROL.search(text)):
        raise InvalidInput(f"the row holds the control character U+{ord(found[0]):04X}")
    return text


def _fields(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise InvalidInput(f"a quote is not closed on its line, or not doubled: {error}") from None


def _guessed_field(raw: bytes, index: int) -> list[str]:
    """Make out one field of a row that may be broken anywhere, to know what the row was about."""
    fields = raw.decode(errors="replace").split(",", index + 1)
    return [fields[index].strip(' "\r\n')] if index < len(fields) else []


def _printable(raw: bytes) -> str:
    text = raw[:1200].decode(errors="backslashreplace").rstrip("\r\n")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text[:300])


def shown(value: str) -> str:
    """Return a value cut to a length that fits into a message."""
    return value if len(value) <= 60 else f"{value[:57]}..."


def text(value: str, what: str, longest: int = LONGEST_KEY) -> str:
    """Return a text that is there and not over-long."""
    if not value or value.isspace():
        raise InvalidInput(f"{what} is empty")
    if len(value) > longest:
        raise InvalidInput(f"{what} is longer than {longest} characters: {shown(value)}")
    return value


@lru_cache(maxsize=65_536)
def amount(value: str, what: str) -> Decimal:
    """Read an amount of 0 or more that numeric(19,4) can hold, written as a plain decimal."""
    if not _NUMBER.fullmatch(value) or len(value) > 40:
        raise InvalidInput(f"{what} is not a decimal number: {shown(value)!r}")
    number = Decimal(value)
    if value.startswith("-"):
        raise InvalidInput(f"{what} is negative: {value}")
    if number > LARGEST_AMOUNT:
        raise InvalidInput(f"{what} is larger than {LARGEST_AMOUNT:,}: {value}")
    if number != round(number, 4):
        raise InvalidInput(f"{what} has more than four decimals: {value}")
    return number


def without_float_noise(value: str) -> str:
    """Round a number that is nearly at four decimals, as 8.379999999999999; leave any other text.

    List prices may be averages that another program computed in binary floats. A price that was charged may
    not.
    """
    if len(value) <= 25 and _NUMBER.fullmatch(value):
        number = Decimal(value)
        if 0 < abs(number - round(number, 4)) <= _FLOAT_NOISE:
            return f"{round(number, 4):f}"
    return value


@lru_cache(maxsize=65_536)
def whole(value: str, what: str) -> int:
    """Read a whole number that PostgreSQL's integer can hold."""
    if not _WHOLE.fullmatch(value):
        raise InvalidInput(f"{what} is not a whole number: {shown(value)!r}")
    number = int(value)
    if abs(number) > MAX_STOCK:
        raise InvalidInput(f"{what} is beyond {MAX_STOCK:,}: {value}")
    return number


def positive(value: str, what: str) -> int:
    """Read a whole number of 1 or more."""
    if (number := whole(value, what)) <= 0:
        raise InvalidInput(f"{what} is not positive: {value}")
    return number


def moment(value: str, what: str) -> datetime:
    """Read an ISO 8601 time that carries its offset, as UTC."""
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidInput(f"{what} is not an ISO 8601 time: {shown(value)!r}") from None
    if time.tzinfo is None:
        raise InvalidInput(f"{what} has no timezone: {value}")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(f"{what} is out of range: {value}") from None
