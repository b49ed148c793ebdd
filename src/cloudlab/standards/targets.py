"""What is to be checked in files: SQL, and SQL inside of Python.

Standard: §11 Best Practices
"""

import ast
import re
from collections.abc import Iterator, Sequence

from cloudlab.standards.files import PYTHON, SQL, Source
from cloudlab.standards.scripts import Script

_SQL = re.compile(r"\s*(?:/\*.*?\*/\s*|--[^\n]*\n\s*)*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)\b", re.DOTALL)
_HOLDER = re.compile(r"%\((\w+)\)s|%s|%%")


def scripts(sources: Sequence[Source]) -> list[Script]:
    """Return the scripts of files, and of each query inside of Python, numbered in the order of the files."""
    found: list[Script] = []
    for source in sources:
        if source.kind == SQL:
            found.append(Script(source.path, source.text))
        elif source.kind == PYTHON:
            found += in_python(source)
    for number, script in enumerate(found, 1):
        script.number = number
    return found


def in_python(source: Source) -> Iterator[Script]:
    """Yield each string of a Python file that is a query, at its line; a file that is no Python holds none."""
    try:
        tree = ast.parse(source.text)
    except SyntaxError:
        return
    nodes = list(ast.walk(tree))
    pieces = {id(part) for node in nodes if isinstance(node, ast.JoinedStr | ast.BinOp) for part in ast.walk(node)}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _SQL.match(node.value):
            yield Script(
                source.path,
                _numbered(node.value),
                is_migration=False,
                first_line=node.lineno,
                is_part=True,
                is_piece=id(node) in pieces,
            )


def _numbered(sql: str) -> str:
    """Write placeholders of Python as PostgreSQL's, as long as they were, so that columns stay what they are."""
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return " %"
        name = found[1] or str(len(numbers))
        return f"${numbers.setdefault(name, len(numbers) + 1)}".ljust(len(found[0]))

    return _HOLDER.sub(number, sql)
