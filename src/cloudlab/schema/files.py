"""Migration files: `NNN_name.sql` with a header, a way up and a way down.

    -- Migration: Create users table
    -- Author: Ada
    -- Date: 2026-11-22
    -- Description: Initial users table with authentication fields
    -- Standard: §2.1 Table Naming

    -- migrate:up
    CREATE TABLE users (…);

    -- migrate:down
    DROP TABLE users;

`-- migrate:up transaction:false` marks a section that cannot run inside a transaction, such as CREATE INDEX
CONCURRENTLY. In such a section a line `-- migrate:online add_index table=items columns=price` is a change made online;
`online_operations` says which there are. The runner owns the transaction, so BEGIN and COMMIT are refused: only then
does the record of a migration commit together with it.

Standard: §6.1 Migration File Structure
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import cache
from itertools import pairwise
from pathlib import Path

from cloudlab.errors import InvalidInput, MigrationError
from cloudlab.schema import online_operations
from cloudlab.schema.statements import Statement, split

_NAME = re.compile(r"(\d{3,})_[a-z0-9_]+\.sql")
_HEADER = re.compile(r"-- (Migration|Author|Date|Description|Standard):\s*(.*)")
_SECTION = re.compile(r"--\s*migrate:(\S+)\s*(.*)")
_HEADERS = ("Migration", "Author", "Date", "Description", "Standard")
DIRECTIVE = "online"
# The only word of the statement that such a line becomes; no SQL statement is spelt so.
ONLINE = "migrate:online"
_TRANSACTION_WORDS = {
    "BEGIN",
    "START",
    "COMMIT",
    "END",
    "ROLLBACK",
    "ABORT",
    "SAVEPOINT",
    "RELEASE",
    "PREPARE",
}


class Tree(StrEnum):
    """The four sets of migrations that CloudLab carries."""

    CONTROL = "control"
    SHARD = "shard"
    TENANT = "tenant"
    CLICKHOUSE = "clickhouse"


@dataclass(frozen=True, slots=True)
class Section:
    """The way up or the way down, and whether it runs as one transaction."""

    sql: str = field(repr=False)
    statements: tuple[Statement, ...] = field(repr=False)
    transaction: bool


@dataclass(frozen=True, slots=True)
class Migration:
    """One file. `checksum` is the SHA-256 of the whole file, its line ends made \\n."""

    version: str
    path: Path
    title: str
    author: str
    date: date
    description: str
    standard: str
    up: Section
    down: Section
    checksum: str

    @property
    def number(self) -> int:
        """The version as a number: '1000' comes after '999'."""
        return int(self.version)


@cache
def load_tree(tree: Tree) -> tuple[Migration, ...]:
    """Return the migrations of one of CloudLab's own trees, oldest first; a tree without files is empty."""
    folder = Path(__file__).parent / "migrations" / tree
    return load(folder, clickhouse=tree is Tree.CLICKHOUSE) if folder.exists() else ()


def load(folder: Path, *, clickhouse: bool = False, gapless: bool = True) -> tuple[Migration, ...]:
    """Read every `*.sql` of a folder, oldest first.

    Args:
        folder: Where.
        clickhouse: Read the SQL as ClickHouse's.
        gapless: Insist on the versions 001, 002, 003 …; otherwise any numbers, such as times.

    Raises:
        MigrationError: A file is malformed, two have the same version, or one is missing where none may.
    """
    files = sorted(folder.glob("*.sql"))
    migrations = sorted((parse(path, _read(path), clickhouse=clickhouse) for path in files), key=lambda one: one.number)
    for twin, migration in pairwise(migrations):
        if migration.number == twin.number:
            raise MigrationError(f"{migration.path}: version {migration.version} is also that of {twin.path.name}")
    for expected, migration in enumerate(migrations if gapless else (), 1):
        if migration.number != expected:
            raise MigrationError(f"{migration.path}: version {expected:03} is missing before {migration.version}")
    return tuple(migrations)


def begin(folder: Path, title: str, *, author: str, on: date, standard: str) -> Path:
    """Write the beginning of the next migration of a folder, and return where; its sections are empty.

    Raises:
        InvalidInput: Nothing of the title can stand in a file's name.
    """
    path = next_path(folder, title)
    with path.open("x", encoding="utf-8") as file:
        lines = [*header(title, author, on, title, standard), "", "-- migrate:up", "", "-- migrate:down", ""]
        file.write("\n".join(lines))
    return path


def next_path(folder: Path, title: str) -> Path:
    """Return the path of a folder's next migration; the folder is made when it is missing.

    Raises:
        InvalidInput: Nothing of the title can stand in a file's name.
    """
    name = "_".join(re.findall(r"[a-z0-9]+", title.lower()))
    if not name or "\n" in title:
        raise InvalidInput(f"{title!r} cannot name a migration", hint="Say in a few words what it does.")
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(match[1]) for path in folder.glob("*.sql") if (match := _NAME.fullmatch(path.name))]
    return folder / f"{max(numbers, default=0) + 1:03}_{name[:80]}.sql"


def header(title: str, author: str, on: date, description: str, standard: str) -> list[str]:
    """Return the lines that a migration begins with."""
    parts = {"Migration": title, "Author": author, "Date": str(on), "Description": description, "Standard": standard}
    return [f"-- {key}: {value}" for key, value in parts.items()]


def _read(path: Path) -> str:
    """Return the text of a file; reading it as text turns every kind of line end into \\n."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise MigrationError(f"{path}: not UTF-8: {error}") from error


def parse(path: Path, text: str, *, clickhouse: bool = False) -> Migration:
    """Read one migration.

    Args:
        path: Its name gives the version; errors begin with it.
        text: The content, line ends normalised.
        clickhouse: Read the SQL as ClickHouse's, and insist that each statement may run twice.

    Raises:
        MigrationError: Names file and line.
    """
    name = _NAME.fullmatch(path.name)
    if not name:
        raise MigrationError(f"{path}: the name of a migration is NNN_what_it_does.sql, in lower case")
    lines = text.split("\n")
    marks = _marks(path, lines)
    header = _header(path, lines[: marks["up"]], marks["up"])
    return Migration(
        version=name[1],
        path=path,
        title=header["Migration"],
        author=header["Author"],
        date=_date(path, lines, header["Date"]),
        description=header["Description"],
        standard=header["Standard"],
        up=_section(path, lines, marks["up"], marks["down"], clickhouse),
        down=_section(path, lines, marks["down"], len(lines), clickhouse),
        checksum=hashlib.sha256(text.encode()).hexdigest(),
    )


def _marks(path: Path, lines: Sequence[str]) -> dict[str, int]:
    """Return the index of the line of each section's mark."""
    marks: dict[str, int] = {}
    for index, line in enumerate(lines):
        if not (mark := _SECTION.fullmatch(line.rstrip())) or mark[1] == DIRECTIVE:
            continue
        if mark[1] not in {"up", "down"} or mark[1] in marks or (mark[1] == "down" and not marks):
            raise MigrationError(f"{path}:{index + 1}: write `-- migrate:up` once, then `-- migrate:down` once")
        if mark[2] not in {"", "transaction:false"}:
            raise MigrationError(f"{path}:{index + 1}: unknown option {mark[2]!r}; there is only transaction:false")
        marks[mark[1]] = index
    for section in ("up", "down"):
        if section not in marks:
            raise MigrationError(f"{path}:{len(lines)}: there is no `-- migrate:{section}` section")
    return marks


def _header(path: Path, lines: Sequence[str], end: int) -> Mapping[str, str]:
    header: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("--"):
            raise MigrationError(f"{path}:{number}: only comments may stand before `-- migrate:up`")
        if match := _HEADER.fullmatch(line.rstrip()):
            if match[1] in header or not match[2]:
                raise MigrationError(f"{path}:{number}: `-- {match[1]}:` is given twice or empty")
            header[match[1]] = match[2]
    for key in _HEADERS:
        if key not in header:
            raise MigrationError(f"{path}:{end + 1}: the header above this line has no `-- {key}: …`")
    return header


def _date(path: Path, lines: Sequence[str], text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        number = next(index for index, line in enumerate(lines, 1) if line.startswith("-- Date:"))
        raise MigrationError(f"{path}:{number}: {text!r} is not a date; write YYYY-MM-DD") from None


def _section(path: Path, lines: Sequence[str], mark: int, end: int, clickhouse: bool) -> Section:
    sql = "\n".join(lines[mark + 1 : end])
    transaction = "transaction:false" not in lines[mark]
    statements = _statements(path, lines, mark + 1, end, clickhouse)
    if not statements:
        raise MigrationError(f"{path}:{mark + 1}: the section has no statement")
    for statement in statements:
        if reason := _repeatable(statement) if clickhouse else _refused(statement, transaction):
            raise MigrationError(f"{path}:{statement.line}: {reason}")
    return Section(sql.strip("\n"), tuple(statements), transaction)


def _statements(path: Path, lines: Sequence[str], begin: int, end: int, clickhouse: bool) -> list[Statement]:
    """Cut a section into statements; a line that asks for an online operation is one of its own."""
    found: list[Statement] = []
    start = begin
    for index in range(begin, end + 1):
        directive = _SECTION.fullmatch(lines[index].rstrip()) if index < end else None
        if index < end and not (directive and directive[1] == DIRECTIVE):
            continue
        sql = "\n".join(lines[start:index])
        found += split(sql, source=str(path), first_line=start + 1, clickhouse=clickhouse)
        if directive:
            found.append(Statement(directive[2], index + 1, (ONLINE,)))
        start = index + 1
    return found


def _refused(statement: Statement, transaction: bool) -> str:
    """Say why this statement may not stand in a PostgreSQL migration; empty when it may."""
    first, second = (*statement.words, "", "")[:2]
    if first == ONLINE:
        return _refused_online(statement, transaction)
    if first in _TRANSACTION_WORDS:
        return f"{first} is refused: the runner owns the transaction, so that its record commits with it"
    if transaction and first in {"SET", "RESET"} and second not in {"LOCAL", "CONSTRAINTS"}:
        return f"{first} outlives the transaction; write SET LOCAL"
    return ""


def _refused_online(statement: Statement, transaction: bool) -> str:
    """Say why a line that asks for an online operation cannot be followed; empty when it can."""
    if transaction:
        return "an online operation is many transactions; mark the section: `-- migrate:… transaction:false`"
    try:
        online_operations.read(statement.text)
    except InvalidInput as error:
        return f"{error.message}. {error.hint}"
    return ""


def _repeatable(statement: Statement) -> str:
    """Say why this ClickHouse statement cannot simply be run again after a crash; empty when it can."""
    words = statement.words
    if words == (ONLINE,):
        return "online operations are PostgreSQL's"
    if "EXISTS" in words or words[1:3] == ("OR", "REPLACE"):
        return ""
    for verb, condition in (("CREATE", "IF NOT EXISTS"), ("ADD", "IF NOT EXISTS"), ("DROP", "IF EXISTS")):
        if verb in words[:1] or (words[:1] == ("ALTER",) and verb in words):
            return f"ClickHouse has no transactions, so this must be repeatable: write {verb} … {condition}"
    return ""
