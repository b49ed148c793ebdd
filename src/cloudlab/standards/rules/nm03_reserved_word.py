"""NM03: no name is a word of SQL, or longer than PostgreSQL keeps.

Standard: §2.1 Naming Conventions
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule, Step
from cloudlab.standards.scope import listed, owned, qualified, quoted
from cloudlab.standards.words import RESERVED

_KEPT = 63
_NAMES = re.compile(r'(?:CONSTRAINT|INDEX(?:\s+CONCURRENTLY)?|TABLE|COLUMN|TO)\s+"?([A-Za-z_]\w{63,})"?', re.IGNORECASE)


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        if table.name in RESERVED:
            remedy = f"ALTER TABLE {qualified(table)} RENAME TO {table.name}s; with a view of the old name meanwhile."
            yield Found(f"{table.name} is a word of SQL: it must stand in quotes", table.at, str(table), remedy)
        words = [name for name in table.columns if name in RESERVED]
        if words:
            yield Found(
                f"{listed(words)}: a word of SQL, which must stand in quotes",
                table.columns[words[0]].at,
                str(table),
                f"ALTER TABLE {qualified(table)} RENAME COLUMN {quoted(words[0])} TO"
                f" {table.name.rstrip('s')}_{words[0]};",
            )


def _check_step(step: Step) -> Iterator[Found]:
    if step.statement.kind in {"CreateStmt", "AlterTableStmt", "IndexStmt", "RenameStmt"}:
        for name in _NAMES.findall(step.statement.text):
            yield step.found(
                f"PostgreSQL cuts {name} down to {name[:_KEPT]}", name=name, remedy="Choose a name of 63 bytes at most."
            )


RULE = Rule(
    id="NM03",
    title="No name is a word of SQL, or too long",
    heading="§2.1 Naming Conventions",
    level=Level.WARNING,
    why="A reserved word must be quoted in every statement; one that is forgotten means something else: SELECT user is"
    " the role. A name is cut after 63 bytes, and the next one that begins alike is refused.",
    remedy="Choose another name.",
    bad=(
        'CREATE TABLE "user" (user_id uuid);',
        'CREATE TABLE orders ("order" integer, "limit" integer);',
        f"CREATE INDEX idx_{'a' * 70} ON t (a);",
    ),
    good=(
        "CREATE TABLE users (user_id uuid, name text, type text, value text, key text);",
        "CREATE TABLE accounts (status text, role text, position integer);",
        f"CREATE INDEX idx_{'a' * 50} ON t (a);",
        f"COMMENT ON TABLE t IS 'INDEX {'a' * 70}';",
    ),
    schema=_check,
    step=_check_step,
    on=frozenset({"CreateStmt", "AlterTableStmt", "IndexStmt", "RenameStmt"}),
)
