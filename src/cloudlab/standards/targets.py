"""What is to be checked: databases by their URLs, SQL by files and folders, SQL inside of Python, standard input.

Standard: §11 Best Practices
"""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from cloudlab.errors import NotFound
from cloudlab.standards.scripts import Script, read_files

_SQL = re.compile(r"\s*(?:/\*.*?\*/\s*|--[^\n]*\n\s*)*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)\b", re.DOTALL)
_HOLDER = re.compile(r"%\((\w+)\)s|%s|%%")


def is_database(target: str) -> bool:
    """Whether a target is the URL of a database."""
    return target.startswith(("postgresql://", "postgres://"))


def read(targets: Sequence[str], standard_input: TextIO, stdin_name: str = "<stdin>") -> list[Script]:
    """Return the scripts of files, folders and standard input, in the order in which migrations are applied.

    Raises:
        NotFound: There is no such file.
    """
    scripts: list[Script] = []
    for target in targets:
        if target == "-":
            scripts.append(Script(stdin_name, standard_input.read()))
            continue
        path = Path(target)
        if not path.exists():
            raise NotFound(f"there is no file or folder {target}", hint="A database is named by its postgresql:// URL.")
        scripts += read_files([path])
        scripts += (script for file in _python_files(path) for script in in_python(file))
    for number, script in enumerate(scripts, 1):
        script.number = number
    return scripts


def _python_files(path: Path) -> Sequence[Path]:
    if path.is_dir():
        return sorted(path.rglob("*.py"))
    return [path] if path.suffix == ".py" else []


def in_python(path: Path) -> Iterator[Script]:
    """Yield each string of a Python file that is a query, at its line; a file that is no Python holds none."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _SQL.match(node.value):
            yield Script(str(path), _numbered(node.value), is_migration=False, first_line=node.lineno, is_part=True)


def _numbered(sql: str) -> str:
    """Write placeholders of Python as PostgreSQL's, as long as they were, so that columns stay what they are."""
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return " %"
        name = found[1] or str(len(numbers))
        return f"${numbers.setdefault(name, len(numbers) + 1)}".ljust(len(found[0]))

    return _HOLDER.sub(number, sql)
