"""MF06: what cannot run in a transaction stands in a file without one.

Standard: §6.1 Migration File Structure
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Step

_NEVER = {
    "VacuumStmt": "VACUUM",
    "CreatedbStmt": "CREATE DATABASE",
    "DropdbStmt": "DROP DATABASE",
    "AlterSystemStmt": "ALTER SYSTEM",
    "CreateTableSpaceStmt": "CREATE TABLESPACE",
    "DropTableSpaceStmt": "DROP TABLESPACE",
    "CreateSubscriptionStmt": "CREATE SUBSCRIPTION",
}


def _check(step: Step) -> Iterator[Found]:
    name = _NEVER.get(step.statement.kind)
    if not name or step.statement.transaction is None:
        return
    if name == "VACUUM" and step.statement.text.lstrip().upper().startswith("ANALYZE"):
        return
    yield step.found(f"{name} cannot run inside of a transaction")


RULE = Rule(
    id="MF06",
    title="What cannot run in a transaction has none",
    heading="§6.1 Migration File Structure",
    level=Level.ERROR,
    why="PostgreSQL refuses it (25001), and the whole file with it.",
    remedy="Put it into a file of its own: `-- migrate:up transaction:false`.",
    bad=(
        "BEGIN; VACUUM users; COMMIT;",
        "-- migrate:up\nALTER SYSTEM SET work_mem = '64MB';\n-- migrate:down\nSELECT 1;",
        "BEGIN; CREATE DATABASE other; COMMIT;",
    ),
    good=(
        "VACUUM users;",
        "BEGIN; ANALYZE users; COMMIT;",
        "-- migrate:up transaction:false\nVACUUM users;\n-- migrate:down\nSELECT 1;",
    ),
    step=_check,
    on=frozenset(_NEVER),
)
