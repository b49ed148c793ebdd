"""Reading SQL files: which tool they are for, which part goes up, which statements they hold, and where each stands.

What is not to be judged (the way down, data of COPY, commands of psql) is blanked out, so that every line and column
stays what it is in the file.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import postgast
from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.errors import MigrationError
from cloudlab.schema.statements import split
from cloudlab.standards.catalog import Place
from cloudlab.standards.files import sql_files

_GAP = re.compile(r"(?:\s+|--[^\n]*|/\*.*?\*/)*", re.DOTALL)
_SECTIONS = re.compile(r"^--\s*(?:migrate:|\+goose )(up|down)\b(.*)$", re.IGNORECASE | re.MULTILINE)
_PSQL = re.compile(r"^\\[a-z!?].*$", re.IGNORECASE | re.MULTILINE)
_COPY = re.compile(r"^COPY [^;]*?FROM stdin[^;]*;\n(.*?)^\\\.$", re.IGNORECASE | re.MULTILINE | re.DOTALL)
_NO_TRANSACTION = re.compile(
    r"transaction:\s*false|\+goose no transaction|atlas:txmode none|executeInTransaction=false|disable-transaction",
    re.IGNORECASE,
)
_GOOSE_MARKS = re.compile(r"^--\s*\+goose .*$", re.IGNORECASE | re.MULTILINE)
# A template of Go, Jinja or Handlebars, in quotes or not.
_TEMPLATE = re.compile(r'"\{\{[^}\n]*\}\}"|\{\{[^}\n]*\}\}')
_CONTROLS = frozenset({"if", "else", "end", "range", "with", "define", "block", "template", "for", "endif", "endfor"})
_DUMP = re.compile(r"^-- PostgreSQL database dump", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: its node, where it stands, and the number of the transaction it shares, None when it has its own.

    `problem` is what the parser said of one that it does not understand; its node is None then. `is_guess` says that it
    may be no SQL at all: a string in a program; `is_piece`, that the program puts more beside it.
    """

    node: Message | None
    text: str
    at: Place
    offset: int
    transaction: int | None = None
    problem: str = ""
    is_guess: bool = False
    is_piece: bool = False

    @property
    def kind(self) -> str:
        """The name of its node: IndexStmt, AlterTableStmt, …"""
        return type(self.node).__name__ if self.node else ""


@dataclass
class Script:
    """One file, what was given on standard input, or a part of a file in another language, which begins at a line."""

    path: str
    text: str
    number: int = 0
    is_migration: bool = True
    first_line: int = 1
    is_part: bool = False
    is_piece: bool = False

    @cached_property
    def dialect(self) -> str:
        """The tool it is for: dbmate, goose, flyway, dump, alembic, or plain."""
        return _dialect(self.path, self.text)

    @cached_property
    def wrapped(self) -> bool:
        """Whether its tool runs it as one transaction."""
        return self.dialect in {"dbmate", "goose", "flyway"} and not _NO_TRANSACTION.search(self.text)

    @property
    def is_sent_whole(self) -> bool:
        """Whether its tool (diesel, Prisma, golang-migrate, sqlx) sends it as one string.

        PostgreSQL runs that as one transaction, unless the file has transactions of its own.
        """
        return Path(self.path).name in {"up.sql", "migration.sql"} or self.path.endswith(".up.sql")

    @cached_property
    def up(self) -> str:
        """The text with all but the way up blanked out."""
        text = _TEMPLATE.sub(_filled_in, self.text) if "{{" in self.text else self.text
        if "\\" in text:
            text = _COPY.sub(lambda found: found[0][: found.start(1) - found.start()] + _blank(found[1]) + "  ", text)
            text = _PSQL.sub(lambda found: _blank(found[0]), text)
        marks = list(_SECTIONS.finditer(text)) if "--" in text else []
        if not marks:
            return text
        keep = [(mark.start(), mark[1].lower() == "up") for mark in marks]
        parts = [_blank(text[: keep[0][0]])]
        for (start, is_up), (end, _) in zip(keep, [*keep[1:], (len(text), False)], strict=True):
            parts.append(text[start:end] if is_up else _blank(text[start:end]))
        return "".join(parts)

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """Its statements, oldest first; BEGIN and COMMIT are among them."""
        return tuple(_numbered(self, list(_parsed(self, self.up))))

    @cached_property
    def lines(self) -> Sequence[str]:
        """Its lines, for showing where something stands."""
        return self.text.split("\n")

    def place(self, offset: int) -> Place:
        """Return the place of a character of the text, counted from 0."""
        line = bisect_right(self._begins, offset)
        return Place(self.path, line + self.first_line - 1, offset - self._begins[line - 1] + 1, self.lines[line - 1])

    @cached_property
    def _begins(self) -> Sequence[int]:
        """Where each line begins."""
        return [0, *accumulate(len(line) + 1 for line in self.lines[:-1])]


def _filled_in(found: re.Match[str]) -> str:
    """Write a name in the place of `{{ .Schema }}`, as long as it was; what controls the template is blanked out."""
    words, text = re.findall(r"[A-Za-z_]\w*", found[0]), found.string
    if not words or words[0] in _CONTROLS:
        return _blank(found[0])
    name = words[-1].lower()
    neighbours = text[max(found.start() - 1, 0) : found.start()] + text[found.end() : found.end() + 1]
    is_part = re.search(r"\w", neighbours)
    return name.ljust(len(found[0]), "_" if is_part else " ")


def _blank(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


def _dialect(path: str, text: str) -> str:
    name = Path(path).name
    if "migrate:up" in text and re.search(r"^--\s*migrate:up", text, re.MULTILINE):
        return "dbmate"
    if "+goose" in text and _GOOSE_MARKS.search(text):
        return "goose"
    if re.match(r"[VR][\d._]*__.*\.sql$", name):
        return "flyway"
    if "-- PostgreSQL database dump" in text and _DUMP.search(text):
        return "dump"
    if "-- Running" in text and re.search(r"^-- Running (upgrade|downgrade)", text, re.MULTILINE):
        return "alembic"
    return "plain"


def _parsed(script: Script, sql: str) -> Iterator[Statement]:
    try:
        tree = postgast.parse(sql)
    except postgast.PgQueryError:
        yield from _one_by_one(script, sql)
        return
    raw = sql.encode()
    is_ascii = len(raw) == len(sql)
    for statement in tree.stmts:
        start = statement.stmt_location
        end = start + statement.stmt_len if statement.stmt_len else len(raw)
        if not is_ascii:
            start, end = len(raw[:start].decode()), len(raw[:end].decode())
        yield _statement(script, sql, start, end, postgast.unwrap_node(statement.stmt))


def _statement(script: Script, sql: str, start: int, end: int, node: Message | None, problem: str = "") -> Statement:
    gap = _GAP.match(sql, start, end)
    begin = gap.end() if gap else start
    return Statement(node, sql[begin:end].rstrip(), script.place(begin), begin, problem=problem)


def _one_by_one(script: Script, sql: str) -> Iterator[Statement]:
    """Parse statement by statement where something is wrong, so that one of them spoils no other."""
    try:
        found = split(sql, source=script.path)
    except MigrationError as error:
        yield Statement(None, sql, script.place(0), 0, problem=error.message)
        return
    at = 0
    for each in found:
        begin = sql.index(each.text, at)
        at = begin + len(each.text)
        try:
            tree = postgast.parse(each.text)
        except postgast.PgQueryError as error:
            at_fault = script.place(begin + max(error.cursorpos - 1, 0))
            yield Statement(None, each.text, at_fault, begin, problem=error.message)
            continue
        for statement in tree.stmts:
            yield Statement(postgast.unwrap_node(statement.stmt), each.text, script.place(begin), begin)


def _numbered(script: Script, statements: Sequence[Statement]) -> Iterator[Statement]:
    """Say of each statement which transaction it is in."""
    number, inside = 1, script.wrapped
    for statement in statements:
        node = statement.node
        if script.is_part:
            yield _with(statement, is_guess=True, is_piece=script.is_piece)
            continue
        if isinstance(node, pb.TransactionStmt):
            begins = node.kind in {pb.TRANS_STMT_BEGIN, pb.TRANS_STMT_START}
            ends = node.kind in {pb.TRANS_STMT_COMMIT, pb.TRANS_STMT_ROLLBACK, pb.TRANS_STMT_PREPARE}
            if begins:
                inside, number = True, number + 1
            yield statement
            if ends:
                inside, number = script.wrapped, number + 1
            continue
        yield _with(statement, number) if inside else statement


def _with(
    one: Statement, transaction: int | None = None, *, is_guess: bool = False, is_piece: bool = False
) -> Statement:
    """Return a statement in a transaction; for every one of every file, dataclasses.replace() is slow."""
    return Statement(one.node, one.text, one.at, one.offset, transaction, one.problem, is_guess, is_piece)


def read_files(paths: Sequence[Path]) -> list[Script]:
    """Read SQL files and every `*.sql` below folders, in the order in which a migration tool would apply them.

    Raises:
        OSError: A file cannot be read.
    """
    return [Script(source.path, source.text, number) for number, source in enumerate(sql_files(paths), 1)]
