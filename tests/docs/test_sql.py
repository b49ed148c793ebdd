"""SQL is code: literal, tagged with the function it stands in, with explicit columns.

Standard: §5.2 Query Patterns, §2.1 Naming Conventions
"""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "cloudlab"
SERVING = [
    path
    for folder in ("events", "shop", "tenancy")
    for path in sorted((SOURCE / folder).glob("*.py"))
    if path.name not in ("dataset.py", "files.py", "rows.py", "sample.py", "sandbox_ledger.py")
] + [SOURCE / "platform.py", SOURCE / "session.py"]
_SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|MERGE)\b")


def statements(path: Path) -> list[str]:
    return [
        node.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _SQL.match(node.value)
    ]


@pytest.mark.parametrize("path", SERVING, ids=lambda path: path.name)
def test_every_statement_names_its_function_and_its_columns(path: Path):
    functions = {
        node.name.lstrip("_")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    for text in statements(path):
        if "FINAL" in text:
            continue  # ClickHouse, which keeps its own log by query id
        tag = re.search(r"/\* (\w+)\.(\w+) \*/", text)
        assert tag, text
        assert tag[1] == path.stem or path.stem == "store", text
        assert "*" not in re.sub(r"/\*.*?\*/|count\(\*\)|\w+ \* |\* [%\w]|COPY \*", "", text), text
        assert functions, path


def test_the_search_finds_statements():
    assert sum(len(statements(path)) for path in SERVING) > 60
