"""Refuse what has grown too large to read: files, functions, folders.

Standard: §11.3 Operational Excellence
"""

import ast
import sys
from pathlib import Path

MOST_FILE_LINES = 400
MOST_FUNCTION_LINES = 60
DEEPEST = 2
ROOT = Path(__file__).parent.parent


def too_large(path: Path) -> list[str]:
    """Return what is wrong with one file, each as `path:line: what`."""
    name = path.relative_to(ROOT)
    text = path.read_text()
    found = []
    if (lines := len(text.splitlines())) > MOST_FILE_LINES:
        found.append(f"{name}:1: {lines} lines, more than {MOST_FILE_LINES}")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = body_lines(node)
            if length > MOST_FUNCTION_LINES:
                found.append(f"{name}:{node.lineno}: {node.name} has {length} lines, more than {MOST_FUNCTION_LINES}")
    return found


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count a function's lines without signature, docstring and the SQL it carries as one literal."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    sql = sum(
        (part.end_lineno or part.lineno) - part.lineno
        for statement in body
        for part in ast.walk(statement)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )
    return (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1 - sql


def main() -> int:
    """Check every Python file of the project."""
    found: list[str] = []
    for folder in ("src", "tests", "scripts", "benchmarks", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            found += too_large(path)
    package = ROOT / "src" / "cloudlab"
    for path in sorted(package.rglob("*.py")):
        below = path.relative_to(package)
        # The rules have the folder of their own that the design gives them: one rule, one file.
        if len(below.parts) > DEEPEST and below.parts[:2] != ("standards", "rules"):
            found.append(f"{path.relative_to(ROOT)}: deeper than {DEEPEST} folders")
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
