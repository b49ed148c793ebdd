"""Cut SQL into statements, as psql does: a semicolon in a quote, a comment, a bracket or a body ends nothing.

A migration runs statement by statement, so that an error names its line, and because PostgreSQL refuses
CONCURRENTLY in a string of several statements.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cloudlab.errors import MigrationError

_PLAIN = r"'(?:[^']|'')*'"
_ESCAPED = r"'(?:[^'\\]|\\.|'')*'"
_LEXEME = r"""
    (?P<comment>--[^\n]*)
  | (?P<block>/\*)
  | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
  | (?P<quote>{text}|"(?:[^"]|"")*"|`[^`]*`)
  | (?P<word>[^\W\d][\w$]*)
  | (?P<open>\()
  | (?P<close>\))
  | (?P<end>;)
  | (?P<space>\s+)
  | (?P<other>\d[\w.]*|.)
"""
_POSTGRES = re.compile(_LEXEME.format(text=rf"[eE]{_ESCAPED}|[eE]'|{_PLAIN}"), re.VERBOSE | re.DOTALL)
_CLICKHOUSE = re.compile(_LEXEME.format(text=_ESCAPED), re.VERBOSE | re.DOTALL)
# What is matched alone only where the text has no end of it.
_OPENED = {"'", '"', "`", "E'", "e'"}
_BLOCK_EDGE = re.compile(r"/\*|\*/")


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement without its semicolon, the line it begins on, and its bare words in upper case."""

    text: str
    line: int
    words: tuple[str, ...]


class _Depth:
    """How many brackets and BEGIN ATOMIC bodies are open; inside of them a semicolon ends nothing."""

    def __init__(self) -> None:
        self.brackets = 0
        self.bodies = 0

    def bracket(self, kind: str) -> None:
        self.brackets += (kind == "open") - (kind == "close")

    def word(self, word: str, words: list[str]) -> None:
        head = words[1:4]
        if words[0] != "CREATE" or not ("FUNCTION" in head or "PROCEDURE" in head):
            return
        if word == "BEGIN" or (word == "CASE" and self.bodies):
            self.bodies += 1
        elif word == "END" and self.bodies:
            self.bodies -= 1

    @property
    def closed(self) -> bool:
        return self.brackets <= 0 and not self.bodies


def split(sql: str, *, source: str = "SQL", first_line: int = 1, clickhouse: bool = False) -> list[Statement]:
    """Return the statements of `sql` in order; comments between them are dropped.

    Args:
        sql: Statements separated by semicolons, the last one optional.
        source: What an error calls the text, normally the file's path.
        first_line: The line number of the first line of `sql` in its file.
        clickhouse: In ClickHouse a backslash escapes in every string, in PostgreSQL only in E'…'.

    Raises:
        MigrationError: A quote or comment is not closed; names source and line.
    """
    statements: list[Statement] = []
    start, words, depth = -1, list[str](), _Depth()
    for kind, begin, end in _tokens(sql, source, first_line, _CLICKHOUSE if clickhouse else _POSTGRES):
        if kind == "end" and depth.closed:
            if start >= 0:
                statements.append(_statement(sql[start:begin], first_line + sql.count("\n", 0, start), words))
            start, words, depth = -1, [], _Depth()
            continue
        if start < 0:
            start = begin
        if kind == "word":
            words.append(sql[begin:end].upper())
            depth.word(words[-1], words)
        depth.bracket(kind)
    if start >= 0:
        statements.append(_statement(sql[start:], first_line + sql.count("\n", 0, start), words))
    return statements


def _statement(text: str, line: int, words: list[str]) -> Statement:
    return Statement(text.rstrip(), line, tuple(words))


def _tokens(sql: str, source: str, first_line: int, pattern: re.Pattern[str]) -> Iterator[tuple[str, int, int]]:
    """Yield kind, begin and end of every token that is neither a comment nor space."""
    at = 0
    while match := pattern.match(sql, at):
        kind, end = str(match.lastgroup), match.end()
        if kind == "block":
            end = _comment_end(sql, end)
        elif kind == "dollar":
            end = sql.find(match[0], end) + len(match[0]) if match[0] in sql[end:] else -1
        elif match[0] in _OPENED:
            end = -1
        if end < 0:
            line = first_line + sql.count("\n", 0, at)
            raise MigrationError(f"{source}:{line}: {match[0]} is never closed")
        if kind not in {"comment", "block", "space"}:
            yield kind, at, end
        at = end


def _comment_end(sql: str, at: int) -> int:
    """Return where a block comment that was opened before `at` ends; they nest. -1 when it does not end."""
    depth = 1
    for edge in _BLOCK_EDGE.finditer(sql, at):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return -1
