"""FK05: a foreign key has the type of what it refers to.

Standard: §2.3 Foreign Key Standards
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, qualified, quoted

_SAME = {"character varying": "text", "character": "text"}


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for key in table.of_kind("f"):
            other = catalog.tables.get(key.referenced) if key.referenced else None
            for own_name, its_name in zip(key.columns, key.referenced_columns, strict=False):
                own, its = table.columns.get(own_name), other.columns.get(its_name) if other else None
                if own and its and other and _kind(own.base_type) != _kind(its.base_type):
                    yield Found(
                        f"{own_name} is {own.type}, {other}.{its_name} is {its.type}",
                        own.at,
                        f"{table}.{key.name}",
                        f"ALTER TABLE {qualified(table)} ALTER COLUMN {quoted(own_name)} TYPE {its.type}; which"
                        " rewrites"
                        " the table: add a column and swap where it is large.",
                    )


def _kind(base_type: str) -> str:
    return _SAME.get(base_type, base_type)


RULE = Rule(
    id="FK05",
    title="A foreign key has the type of what it refers to",
    heading="§2.3 Foreign Key Standards",
    level=Level.WARNING,
    why="An integer that refers to a bigint runs out first, a bare numeric compares slower, and a join between"
    " different"
    " types may not use an index.",
    remedy="Give it the same type.",
    bad=(
        "CREATE TABLE u (u bigint PRIMARY KEY); CREATE TABLE o (u integer REFERENCES u);",
        "CREATE TABLE u (u integer PRIMARY KEY); CREATE TABLE o (u bigint, FOREIGN KEY (u) REFERENCES u (u));",
        "CREATE TABLE u (u bigserial PRIMARY KEY); CREATE TABLE o (u numeric(20,0) REFERENCES u);",
    ),
    good=(
        "CREATE TABLE u (u bigserial PRIMARY KEY); CREATE TABLE o (u bigint REFERENCES u);",
        "CREATE TABLE u (u varchar(20) PRIMARY KEY); CREATE TABLE o (u text REFERENCES u);",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid REFERENCES u);",
        "CREATE TABLE o (u integer REFERENCES elsewhere);",
    ),
    schema=_check,
)
