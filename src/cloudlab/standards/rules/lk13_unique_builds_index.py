"""LK13: a UNIQUE or a primary key on a table in use takes an index that was built concurrently.

Standard: §6.2 Adding Indexes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.facts import CHANGES, changes
from cloudlab.standards.rule import Found, Level, Rule, Step

_FORMS = {"add unique", "add primary key", "add exclusion", "add column, unique"}


def _check(step: Step) -> Iterator[Found]:
    for change in changes(step):
        if change.fact.form in _FORMS and change.command is not None:
            definition = getattr(change.command, "def")
            beside = definition.HasField("column_def")
            name = definition.column_def.colname if beside else definition.constraint.conname
            yield step.found(f"builds an index on {change.table} while nobody can read it", name=name)
        elif change.fact.form == "add unique using index" and change.command is not None:
            yield from _nullable(step, change.table, getattr(change.command, "def").constraint)


def _nullable(step: Step, table_name: str, constraint: pb.Constraint) -> Iterator[Found]:
    """Yield a primary key over columns that may be NULL: each of them is looked at, under the same lock."""
    table = step.catalog.find("", table_name)
    index = table.indexes.get(constraint.indexname) if table else None
    if constraint.contype != pb.CONSTR_PRIMARY or table is None or index is None:
        return
    for column in index.columns:
        if column in table.columns and not table.columns[column].not_null:
            yield step.found(f"reads all of {table} for a NULL in {column} while everybody waits", name=column)


RULE = Rule(
    id="LK13",
    title="A UNIQUE takes an index that was built concurrently",
    heading="§6.2 Adding Indexes",
    level=Level.ERROR,
    why="ADD UNIQUE and ADD PRIMARY KEY build their index under ACCESS EXCLUSIVE: nobody reads until it is done.",
    remedy="CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … UNIQUE USING INDEX, which takes moments.",
    bad=(
        "ALTER TABLE users ADD CONSTRAINT uq_users_email UNIQUE (email);",
        "ALTER TABLE users ADD PRIMARY KEY (user_id);",
        "ALTER TABLE users ADD COLUMN email text UNIQUE;",
        "ALTER TABLE stays ADD CONSTRAINT x EXCLUDE USING gist (room WITH =, during WITH &&);",
    ),
    good=(
        "ALTER TABLE users ADD CONSTRAINT uq_users_email UNIQUE USING INDEX uq_users_email;",
        "CREATE TABLE users (user_id uuid); ALTER TABLE users ADD PRIMARY KEY (user_id);",
        "CREATE UNIQUE INDEX CONCURRENTLY uq_users_email ON users (email);",
    ),
    step=_check,
    on=CHANGES,
)
