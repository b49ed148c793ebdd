"""CN07: one person's address is one address, however it is written.

Standard: §2.2 Column Constraints
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import checks_of, is_text, owned, qualified, quoted

_EMAIL = re.compile(r"(\w+_)?e?mail(_address)?")


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for column in table.columns.values():
            if not _EMAIL.fullmatch(column.name) or not is_text(column) or _is_folded(table, column.name):
                continue
            plain = next((one for one in table.indexes.values() if one.unique and column.name in one.columns), None)
            if plain and plain.columns[-1] == column.name and "collate" not in " ".join(plain.options):
                others = "".join(f"{quoted(name)}, " for name in plain.columns[:-1] if name)
                yield Found(
                    f"{plain.name} takes Ada@acme.test and ada@acme.test for two",
                    plain.at,
                    f"{table}.{column.name}",
                    f"CREATE UNIQUE INDEX CONCURRENTLY uq_{table.name}_{column.name}_lower ON {qualified(table)}"
                    f" ({others}lower({quoted(column.name)}));",
                )


def _is_folded(table: Table, name: str) -> bool:
    """Whether another index compares without case, or a check keeps it in lower case."""
    by_index = any(one.unique and any(name in text for text in one.expressions) for one in table.indexes.values())
    checks = (check.check.text.lower() for check in checks_of(table, name) if check.check)
    return by_index or any("lower(" in text for text in checks)


RULE = Rule(
    id="CN07",
    title="An address is unique however it is written",
    heading="§2.2 Column Constraints",
    level=Level.WARNING,
    why="Mail programs and people change the case of addresses: the same person registers twice, or cannot log in.",
    remedy="A unique index on lower(email).",
    bad=(
        "CREATE TABLE users (email varchar(255) NOT NULL UNIQUE);",
        "CREATE TABLE users (tenant_id uuid, email text); CREATE UNIQUE INDEX uq_e ON users (tenant_id, email);",
        "CREATE TABLE users (contact_email text); ALTER TABLE users ADD CONSTRAINT u UNIQUE (contact_email);",
    ),
    good=(
        "CREATE TABLE users (email text); CREATE UNIQUE INDEX uq_e ON users (lower(email));",
        "CREATE TABLE users (email citext UNIQUE);",
        "CREATE TABLE users (email text UNIQUE CHECK (email = lower(email)));",
        "CREATE TABLE users (email text); CREATE INDEX i ON users (email);",
        "CREATE TABLE m (email text, list int, PRIMARY KEY (email, list));",
    ),
    schema=_check,
)
