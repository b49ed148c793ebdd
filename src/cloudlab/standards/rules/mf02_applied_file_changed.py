"""MF02: what was applied is what the files say.

Standard: §6.1 Migration Tracking
"""

import hashlib
from collections.abc import Iterator

from cloudlab.standards.catalog import Place
from cloudlab.standards.rule import Deployment, Found, Level, Rule


def _check(deployment: Deployment) -> Iterator[Found]:
    files = {version.numbers: version for version in deployment.files}
    for one in deployment.applied:
        file = files.get(one.numbers)
        if file and not one.is_whole:
            yield Found("did not run to its end: part of it may be there", file.script.place(0), file.name,
                        "Look at what is there, mend it by hand, and only then its entry.")  # fmt: skip
        elif file and one.is_same is False:
            yield Found("was changed after it was applied here", file.script.place(0), file.name)
        elif not file and one.numbers > deployment.files[0].numbers:
            # What is older than the first file was summed up in it.
            folder = Place(deployment.files[0].series[0])
            yield Found(f"{one.version} {one.name} was applied, and its file is gone", folder, one.version)


_TEXT = "CREATE TABLE t (a integer PRIMARY KEY);"
_SAME = hashlib.sha256(_TEXT.encode()).hexdigest()
_TABLE = """CREATE TABLE schema_migrations (version varchar(255) PRIMARY KEY, applied_at timestamptz DEFAULT now(),
    checksum varchar(64), description text, direction varchar(4) DEFAULT 'up', running_statement integer);
"""
_FLYWAY = """CREATE TABLE flyway_schema_history (installed_rank integer PRIMARY KEY, version varchar(50),
    type varchar(20), script varchar(1000), checksum integer, success boolean);
"""


_GOLANG = """CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean);
INSERT INTO schema_migrations VALUES (2, false);"""


def _files(*names: str) -> str:
    return "".join(f"\n-- next file\n-- file: {name}\n{_TEXT}" for name in names)


def _entries(*rows: tuple[str, str, int | None]) -> str:
    values = ", ".join(f"('{version}', '{checksum}', {statement or 'NULL'})" for version, checksum, statement in rows)
    return " ".join(
        [_TABLE, "INSERT INTO schema_migrations (version, checksum, running_statement) VALUES", values, ";"]
    )


def _flyway(*rows: tuple[int, str, str, int]) -> str:
    values = ", ".join(
        f"({rank}, '{version}', 'SQL', '{script}', {checksum}, true)" for rank, version, script, checksum in rows
    )
    return " ".join([_FLYWAY, "INSERT INTO flyway_schema_history VALUES", values, ";"])


RULE = Rule(
    id="MF02",
    title="What was applied is what the files say",
    heading="§6.1 Migration Tracking",
    level=Level.ERROR,
    why="A file that changed after it ran is in force nowhere it had run: a database made anew differs from all "
    "others, and nobody knows in what. Asked where files and their database are given, by the tables of cloudlab, "
    "Flyway, dbmate, goose and golang-migrate.",
    remedy="Bring the file back as it was, and write what it lacked as the next migration.",
    bad=(
        _entries(("001", _SAME, None), ("002", "00", None)) + _files("001_a.sql", "002_b.sql"),
        _entries(("001", _SAME, None), ("002", _SAME, None)) + _files("001_a.sql", "003_c.sql"),
        _entries(("001", _SAME, None), ("002", _SAME, 3)) + _files("001_a.sql", "002_b.sql"),
        _flyway((1, "1", "V1__a.sql", 712137295), (2, "2", "V2__b.sql", 5)) + _files("V1__a.sql", "V2__b.sql"),
    ),
    good=(
        _entries(("001", _SAME, None), ("002", _SAME, None)) + _files("001_a.sql", "002_b.sql", "003_c.sql"),
        _entries(("001", "00", None), ("002", "11", None)) + _files("001_of_another.sql", "002_database.sql"),
        _entries(("001", "00", None), ("002", _SAME, None)) + _files("002_all_in_one.sql"),
        _GOLANG + _files("1_a.up.sql", "2_b.up.sql", "3_c.up.sql"),
    ),
    deployed=_check,
    asks=True,
)
