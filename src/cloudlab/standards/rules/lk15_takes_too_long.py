"""LK15: nobody waits long for a migration that is to come.

Standard: §6.2 Zero-Downtime Migrations
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Deployment, Found, Level, Rule

_BUDGET = 2.0


def _check(deployment: Deployment) -> Iterator[Found]:
    for work in deployment.work:
        if work.waiting.startswith("every") and work.seconds >= _BUDGET:
            yield Found(
                f"{work.table} ({work.size}) is {work.what} in about {_told(work.seconds)}, and {work.waiting} waits",
                work.at,
                work.table,
            )


def _told(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


# Sizes as VACUUM and ANALYZE note them, for tables that nobody would want to fill for an example.
_BEFORE = """CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY);
INSERT INTO schema_migrations VALUES ('001');
CREATE TABLE large (a integer, b varchar(10)); CREATE TABLE small (a integer, b varchar(10));
UPDATE pg_class SET relpages = 250000, reltuples = 1e8 WHERE relname = 'large';"""


def _next(statement: str) -> str:
    first = "-- file: 001_a.sql\nCREATE TABLE large (a integer); CREATE TABLE small (a integer);"
    return f"{_BEFORE}\n-- next file\n{first}\n-- next file\n-- file: 002_b.sql\n{statement}"


RULE = Rule(
    id="LK15",
    title="Nobody waits long for a migration",
    heading="§6.2 Zero-Downtime Migrations",
    level=Level.ERROR,
    why="What locks a table and reads or writes all of it takes as long as that is large: the estimate is the size "
    "in the database that was given, over the rates of one process with the table in memory; a disk is slower. "
    "Reported from two seconds on, of files that have not run there.",
    remedy="Use the online operation (`cloudlab online list`), or a window in which nobody writes.",
    bad=(
        _next("ALTER TABLE large ALTER COLUMN a TYPE bigint;"),
        _next("CREATE INDEX idx_large_a ON large (a);"),
        _next("ALTER TABLE large ADD CONSTRAINT chk_large_a CHECK (a > 0);"),
        _next("ALTER TABLE large ALTER COLUMN a SET NOT NULL;"),
    ),
    good=(
        _next("ALTER TABLE small ALTER COLUMN a TYPE bigint;"),
        _next("CREATE INDEX CONCURRENTLY idx_large_a ON large (a);"),
        _next("ALTER TABLE large ALTER COLUMN b TYPE varchar(20);"),
        _next("ALTER TABLE large ADD COLUMN c integer DEFAULT 5;"),
        _next("ALTER TABLE large ADD CONSTRAINT chk_large_a CHECK (a > 0) NOT VALID;"),
    ),
    deployed=_check,
    asks=True,
)
