"""LK08: a CHECK or a foreign key on a table in use is added NOT VALID and validated later.

Standard: §6.2 Schema Changes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.facts import CHANGES, changes
from cloudlab.standards.rule import Found, Level, Rule, Step

_FORMS = {"add check", "add foreign key", "add column, check"}


def _check(step: Step) -> Iterator[Found]:
    for change in changes(step):
        if change.fact.form not in _FORMS or change.command is None:
            continue
        definition = getattr(change.command, "def")
        if change.fact.form == "add column, check" and not _looks_at_others(definition.column_def):
            continue
        name = definition.constraint.conname if definition.HasField("constraint") else definition.column_def.colname
        who = "everybody" if change.fact.blocks_reads else "every writer"
        yield step.found(
            f"reads all of {change.table} while {who} waits",
            name=name,
            remedy=f"ALTER TABLE {change.table} ADD CONSTRAINT {name or 'name'} … NOT VALID; and in a later "
            f"transaction "
            f"ALTER TABLE {change.table} VALIDATE CONSTRAINT {name or 'name'};",
        )


def _looks_at_others(column: pb.ColumnDef) -> bool:
    """Whether the rows that are there must be looked at; a new column is NULL in all, and passes its CHECK."""
    return any(one.constraint.contype == pb.CONSTR_DEFAULT for one in column.constraints)


RULE = Rule(
    id="LK08",
    title="A constraint on a table in use is added NOT VALID",
    heading="§6.2 Schema Changes",
    level=Level.ERROR,
    why="Added at once, the constraint is checked against every row under the lock that adds it. NOT VALID holds "
    "for new "
    "rows from then on, and VALIDATE looks at the old ones under a lock that stops nobody.",
    remedy="ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT in a transaction of its own.",
    bad=(
        "ALTER TABLE users ADD CONSTRAINT chk_users_age CHECK (age > 0);",
        "ALTER TABLE orders ADD CONSTRAINT fk_orders_user_id FOREIGN KEY (user_id) REFERENCES users (user_id);",
        "ALTER TABLE users ADD CHECK (age > 0);",
        "ALTER TABLE users ADD COLUMN age integer DEFAULT 1 CHECK (age > 0);",
    ),
    good=(
        "ALTER TABLE users ADD CONSTRAINT chk_users_age CHECK (age > 0) NOT VALID;",
        "CREATE TABLE users (age integer PRIMARY KEY); ALTER TABLE users ADD CONSTRAINT chk_a CHECK (age > 0);",
        "ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (user_id) NOT VALID;",
        "ALTER TABLE users ADD COLUMN age integer CHECK (age > 0);",
        "CREATE TABLE orders (a integer PRIMARY KEY REFERENCES users);",
    ),
    step=_check,
    on=CHANGES,
)
