"""Where a ClickHouse statement ends and its data begins.

ClickHouse's HTTP interface takes one statement, and for `INSERT … FORMAT x` the rows follow it in the same body. Only a
reader that knows strings, comments and parentheses finds that seam; this is that reader and no more of SQL than that.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""
      (?P<skip>   \s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?\*/ )
    | (?P<word>   [A-Za-z_][A-Za-z0-9_]* )
    | (?P<quoted> '[^'\\]*(?:(?:\\.|'')[^'\\]*)*'
                | `[^`\\]*(?:(?:\\.|``)[^`\\]*)*`
                | "[^"\\]*(?:(?:\\.|"")[^"\\]*)*"
                | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<open>   /\*.* | ['`"].* | \$\w*\$.* )
    | (?P<mark>   . )
    """,
    re.VERBOSE | re.DOTALL,
)
_READS = frozenset(("SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "VALUES", ""))
_MAX_HEAD_BYTES = 1 << 20
_MAX_TEXT_BYTES = 256 << 20


class TooLarge(Exception):
    """A statement is larger than the owner process keeps in memory."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: its first keyword, its FORMAT clause, and where its data begins (-1: no data follows)."""

    keyword: str
    format: str = ""
    head_end: int = -1
    data_at: int = -1
    several: bool = False

    @property
    def reads(self) -> bool:
        """Tell whether the statement answers with rows and changes nothing."""
        return self.keyword in _READS


@dataclass(slots=True)
class _Reader:
    """The state of one pass over the tokens of a statement."""

    keyword: str = ""
    depth: int = 0
    before: str = ""
    format: str = ""
    format_at: int = -1
    inline: bool = False
    in_settings: bool = False
    ended: bool = False

    @property
    def takes_data(self) -> bool:
        return self.keyword == "INSERT" and not self.inline

    def word(self, text: str, start: int) -> bool:
        """Take a word outside of parentheses; True when it names the format of the data that follows."""
        upper, before = text.upper(), self.before
        self.before = "" if before in {"INTO", "TABLE", "."} else upper
        if before == "FORMAT":
            self.format, self.before = text, ""
            return self.takes_data
        if upper == "FORMAT":
            self.format_at = start
        elif upper == "SETTINGS":
            self.in_settings = bool(self.format)
        elif self.takes_data and upper in {"SELECT", "WITH", "VALUES", "WATCH"}:
            self.inline = True
        self._not_the_last(upper == "SETTINGS")
        return False

    def mark(self, text: bytes) -> None:
        self.depth += (text in b"([{") - (text in b")]}")
        self.ended = text == b";"
        self.before = "." if text == b"." else ""
        if not self.keyword and text != b"(":
            self.keyword = text.decode(errors="replace")
        self._not_the_last(self.ended)

    def _not_the_last(self, allowed: bool) -> None:
        """A FORMAT clause is followed by SETTINGS or by nothing; before anything else it was a name."""
        if not allowed and not self.in_settings:
            self.format = ""


def parse(text: bytes) -> Statement:
    """Read the first statement of `text`; for an INSERT with data, stop where the data begins."""
    reader = _Reader()
    for token in _TOKEN.finditer(text):
        kind, value = token.lastgroup, token.group()
        if kind == "skip":
            continue
        if reader.ended:
            return Statement(reader.keyword, reader.format, several=True)
        if kind == "open":
            break  # a comment or a text that has not ended: what is in it says nothing
        if kind == "word" and not reader.keyword:
            reader.keyword = reader.before = value.decode().upper()
        elif kind == "word" and reader.depth == 0:
            if reader.word(value.decode(), token.start()):
                data_at = _skip_line_end(text, token.end())
                return Statement(reader.keyword, reader.format, reader.format_at, data_at)
            if reader.keyword == "INSERT" and reader.before == "VALUES":
                return Statement(reader.keyword)
        elif kind == "mark":
            reader.mark(value)
        else:
            reader.before = ""
    return Statement(reader.keyword, reader.format)


def _skip_line_end(text: bytes, at: int) -> int:
    """Step over what may stand between the format's name and the data: `;`, blanks, one line end."""
    while text[at : at + 1] in (b" ", b"\t", b"\f", b";"):
        at += 1
    at += text[at : at + 1] == b"\r"
    return at + (text[at : at + 1] == b"\n")


def read(chunks: Iterator[bytes]) -> tuple[Statement, bytes]:
    """Read just enough of the body to know its statement; the rest of an INSERT's data stays in `chunks`.

    Returns:
        The statement, and the bytes read so far: the whole body unless data follows.

    Raises:
        TooLarge: The statement (not its data) exceeds what is kept in memory.
    """
    text = bytearray()
    waiting = True
    for chunk in chunks:
        text += chunk
        if waiting:
            statement = parse(bytes(text[:_MAX_HEAD_BYTES]))
            if 0 <= statement.data_at < len(text):
                return statement, bytes(text)
            # Data can only follow an INSERT, and its head is short: anything else is read to its end.
            waiting = statement.keyword in {"", "INSERT"} and len(text) < _MAX_HEAD_BYTES
        if len(text) > _MAX_TEXT_BYTES:
            raise TooLarge(f"a statement may have {_MAX_TEXT_BYTES} bytes; send rows as INSERT … FORMAT data")
    return parse(bytes(text)), bytes(text)
