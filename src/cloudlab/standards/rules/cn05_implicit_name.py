"""CN05: constraints have names that somebody chose.

Standard: §2.1 Naming Conventions
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import listed, owned

_PREFIX = {"p": "pk", "u": "uq", "c": "chk", "f": "fk", "x": "ex"}


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        unnamed = [one for one in table.of_kind(*_PREFIX) if not one.is_named]
        if unnamed:
            first = unnamed[0]
            words = [_PREFIX[first.kind], table.name, *(() if first.kind == "p" else first.columns)]
            yield Found(
                f"PostgreSQL names {listed([one.name for one in unnamed])}",
                first.at,
                str(table),
                f"CONSTRAINT {'_'.join(words)} before it.",
            )


RULE = Rule(
    id="CN05",
    title="Constraints have names that somebody chose",
    heading="§2.1 Naming Conventions",
    level=Level.NOTE,
    why="A generated name gets a number when it is taken: the next migration drops another constraint in another"
    " database, and an error message says users_check1.",
    remedy="CONSTRAINT chk_users_age CHECK (…).",
    bad=(
        "CREATE TABLE u (u uuid PRIMARY KEY);",
        "CREATE TABLE u (a int CHECK (a > 0));",
        "CREATE TABLE u (a int); ALTER TABLE u ADD UNIQUE (a);",
    ),
    good=(
        "CREATE TABLE u (u uuid, CONSTRAINT pk_u PRIMARY KEY (u));",
        "CREATE TABLE u (a int CONSTRAINT chk_u_a_positive CHECK (a > 0));",
        "CREATE TABLE u (a int NOT NULL); CREATE UNIQUE INDEX uq_u_a ON u (a);"
        " ALTER TABLE u ADD CONSTRAINT pk_u PRIMARY KEY USING INDEX uq_u_a;",
    ),
    schema=_check,
)
