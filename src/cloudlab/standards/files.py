"""The files of the targets and what is in them, in the order in which a migration tool would apply them.

It is loaded before anything else of the checker: whether the result is in the cache depends on nothing but this.

Standard: §6.1 Migration File Structure
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from cloudlab.errors import NotFound

SQL, PYTHON, POOLER = ".sql", ".py", ".ini"
_DATE = re.compile(r"(?<!\d)(\d{4})-(\d\d)-(\d\d)(?:[-_](\d{6}))?(?!\d)")
# The way down in a file of its own: golang-migrate's 1.down.sql, diesel's down.sql, Flyway's U1__name.sql.
_DOWN = re.compile(r"(^|[._])(down|undo)\.sql$|^U\d")


@dataclass(frozen=True, slots=True)
class Source:
    """A file, its text, and what is in it: SQL, PYTHON or POOLER."""

    path: str
    text: str
    kind: str = SQL


def is_database(target: str) -> bool:
    """Whether a target is the URL of a database."""
    return target.startswith(("postgresql://", "postgres://"))


def read(targets: Sequence[str], standard_input: TextIO, stdin_name: str = "<stdin>") -> list[Source]:
    """Return the files of all targets that are no databases, and standard input for `-`.

    Raises:
        NotFound: There is no such file.
        OSError: A file cannot be read.
    """
    found: list[Source] = []
    for target in targets:
        if target == "-":
            found.append(Source(stdin_name, standard_input.read()))
        elif not is_database(target):
            if not Path(target).exists():
                hint = "A database is named by its postgresql:// URL."
                raise NotFound(f"there is no file or folder {target}", hint=hint)
            found += _below(target)
    return found


def sql_files(paths: Sequence[Path]) -> list[Source]:
    """Return files of SQL, and those below folders but for the ways down.

    Raises:
        OSError: A file cannot be read.
    """
    return [source for path in paths for source in _below(str(path)) if source.kind == SQL]


def _below(target: str) -> Iterator[Source]:
    """Yield SQL first, then Python, then PgBouncer's; a single file of another name is SQL."""
    if not Path(target).is_dir():
        kind = Path(target).suffix
        yield _source(target, kind if kind in {PYTHON, POOLER} else SQL)
        return
    paths = [os.path.normpath(f"{folder}/{name}") for folder, _, files in os.walk(target) for name in files]
    # A link into what is not there, such as a submodule, is nobody's migration.
    names = [path for path in paths if path.endswith((SQL, PYTHON, POOLER)) and Path(path).is_file()]
    migrations = [one for one in names if one.endswith(SQL) and not _DOWN.search(one.rpartition("/")[2])]
    yield from (_source(name, SQL) for name in sorted(migrations, key=_order))
    for kind in (PYTHON, POOLER):
        yield from (_source(name, kind) for name in sorted(names) if name.endswith(kind))


def _source(path: str, kind: str) -> Source:
    return Source(path, Path(path).read_text(encoding="utf-8-sig", errors="replace"), kind)


def _order(path: str) -> list[tuple[int, int, str]]:
    """Sort numbers as numbers, 9 before 10; a date with dashes is one number, as diesel has it."""
    text = _DATE.sub(lambda found: "".join(filter(None, found.groups())), path)
    parts = re.split(r"(\d+)", text)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
