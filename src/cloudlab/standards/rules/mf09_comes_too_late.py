"""MF09: the next migration comes after all that were applied.

Standard: §6.1 Migration Tracking
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Deployment, Found, Level, Rule


def _check(deployment: Deployment) -> Iterator[Found]:
    last = max((one for one in deployment.applied), key=lambda one: one.numbers, default=None)
    for version in deployment.pending:
        if last and version.numbers < last.numbers:
            yield Found(f"is not applied here, and the later {last.version} is", version.script.place(0), version.name)


def _files(*names: str) -> str:
    return "".join(f"\n-- next file\n-- file: {name}\nCREATE TABLE t (a integer PRIMARY KEY);" for name in names)


def _applied(*versions: str, table: str = "schema_migrations (version) SELECT v") -> str:
    make = "CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY);"
    if "goose" in table:
        make = "CREATE TABLE goose_db_version (id serial, version_id bigint, is_applied boolean);"
    return f"{make}\nINSERT INTO {table} FROM unnest(ARRAY[{', '.join(map(repr, versions))}]) AS v;"


_GOOSE = "goose_db_version (version_id, is_applied) SELECT v::bigint, true"

RULE = Rule(
    id="MF09",
    title="The next migration comes after all that were applied",
    heading="§6.1 Migration Tracking",
    level=Level.WARNING,
    why="A branch that took long brings a version older than what ran meanwhile: one tool refuses it, another runs it "
    "in an order that no other database has had, a third never runs it.",
    remedy="Give the file a version after the last that was applied.",
    bad=(
        _applied("20260101000000", "20260301000000")
        + _files("20260101000000_a.sql", "20260201000000_b.sql", "20260301000000_c.sql"),
        _applied("1", "3", "4", table=_GOOSE) + _files("1_a.sql", "2_b.sql", "3_c.sql", "4_d.sql"),
        _applied("001", "003") + _files("001_a.sql", "002_b.sql", "003_c.sql", "004_d.sql"),
    ),
    good=(
        _applied("20260101000000") + _files("20260101000000_a.sql", "20260201000000_b.sql"),
        _applied("1", "2", table=_GOOSE) + _files("1_a.sql", "2_b.sql", "3_c.sql"),
        _applied("20200101000000", "20210101000000", "20220101000000") + _files("20190101000000_of_another.sql"),
        "CREATE TABLE alembic_version (version_num varchar(32));" + _files("001_a.sql"),
    ),
    deployed=_check,
    asks=True,
)
