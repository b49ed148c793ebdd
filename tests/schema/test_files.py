"""A malformed migration is refused with its file and line, before anything runs."""

from pathlib import Path

import pytest

from cloudlab.errors import MigrationError
from cloudlab.schema.files import Tree, load, load_tree, parse

GOOD = """\
-- Migration: Create users table
-- Author: Ada
-- Date: 2026-11-22
-- Description: Initial users table
-- Standard: §2.1 Table Naming

-- migrate:up
CREATE TABLE users (id bigint);

-- migrate:down
DROP TABLE users;
"""
PATH = Path("there/001_users.sql")


def test_a_migration_is_read():
    migration = parse(PATH, GOOD)
    assert (migration.version, migration.number, migration.title) == ("001", 1, "Create users table")
    assert [statement.text for statement in migration.up.statements] == ["CREATE TABLE users (id bigint)"]
    assert [statement.line for statement in migration.down.statements] == [11]
    assert migration.up.transaction
    assert len(migration.checksum) == 64


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("-- Author: Ada\n", "", 6, "no `-- Author: …`"),
        ("-- Author: Ada", "-- Author:", 2, "`-- Author:` is given twice or empty"),
        ("-- Author: Ada", "-- Migration: Again", 2, "`-- Migration:` is given twice or empty"),
        ("2026-11-22", "22.11.2026", 3, "'22.11.2026' is not a date"),
        ("-- Standard", "SELECT 1;\n-- Standard", 5, "only comments may stand before"),
        ("-- migrate:up\n", "", 9, "once"),
        ("-- migrate:down\nDROP TABLE users;\n", "", 10, "no `-- migrate:down` section"),
        ("-- migrate:down", "-- migrate:up", 10, "once"),
        ("-- migrate:down", "-- migrate:undo", 10, "once"),
        ("-- migrate:up", "-- migrate:up transaction: false", 7, "unknown option 'transaction: false'"),
        ("DROP TABLE users;", "-- nothing", 10, "no statement"),
        ("CREATE TABLE users", "\nBEGIN;\nCREATE TABLE users", 9, "BEGIN is refused"),
        ("DROP TABLE users;", "DROP TABLE users;\ncommit;", 12, "COMMIT is refused"),
        ("CREATE TABLE users", "SET search_path = other; CREATE TABLE users", 8, "write SET LOCAL"),
        ("(id bigint)", "(id text DEFAULT 'x)", 8, "is never closed"),
    ],
)
def test_a_malformed_file_is_refused_with_file_and_line(old: str, new: str, line: int, message: str):
    assert old in GOOD
    with pytest.raises(MigrationError) as refused:
        parse(PATH, GOOD.replace(old, new, 1))
    assert str(refused.value).startswith(f"there/001_users.sql:{line}: ")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "statement", ["SET LOCAL work_mem = '64MB'", "SET CONSTRAINTS ALL DEFERRED", "DO $$BEGIN END$$"]
)
def test_what_ends_with_the_transaction_is_allowed(statement: str):
    assert len(parse(PATH, GOOD.replace("CREATE", f"{statement};\nCREATE", 1)).up.statements) == 2


@pytest.mark.parametrize("name", ["1_users.sql", "001-users.sql", "001_Users.sql", "users.sql"])
def test_a_name_out_of_pattern_is_refused(name: str):
    with pytest.raises(MigrationError, match="NNN_what_it_does"):
        parse(Path(name), GOOD)


def test_line_ends_do_not_change_the_checksum_and_content_does(tmp_path: Path):
    for number, text in enumerate((GOOD, GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, GOOD + " "), 1):
        (tmp_path / f"{number:03}_users.sql").write_bytes(text.encode())
    checksums = [migration.checksum for migration in load(tmp_path)]
    assert checksums[0] == checksums[1] == checksums[2] != checksums[3]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["001_a.sql", "001_b.sql"], "001_b.sql: version 001 is also that of 001_a.sql"),
        (["001_a.sql", "003_b.sql"], "003_b.sql: version 002 is missing before 003"),
        (["002_a.sql"], "002_a.sql: version 001 is missing before 002"),
    ],
)
def test_versions_have_neither_gap_nor_twin(tmp_path: Path, names: list[str], message: str):
    for name in names:
        (tmp_path / name).write_text(GOOD)
    with pytest.raises(MigrationError, match=message):
        load(tmp_path)


def test_versions_are_ordered_as_numbers(tmp_path: Path):
    for number in range(1, 1002):
        (tmp_path / f"{number:03}_x.sql").write_text(GOOD)
    assert [migration.version for migration in load(tmp_path)][-3:] == ["999", "1000", "1001"]


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path):
    (tmp_path / "001_users.sql").write_bytes(GOOD.replace("Ada", "Zo\u00eb").encode("latin-1"))
    with pytest.raises(MigrationError, match="not UTF-8"):
        load(tmp_path)


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE t (a Int8) ENGINE = Memory", "DROP TABLE t", "ALTER TABLE t ADD COLUMN b Int8"],
)
def test_clickhouse_statements_must_be_repeatable(statement: str):
    with pytest.raises(MigrationError, match=r"001_users.sql:8: .* must be repeatable"):
        parse(PATH, GOOD.replace("CREATE TABLE users (id bigint)", statement), clickhouse=True)


@pytest.mark.parametrize("tree", Tree)
def test_our_own_trees_are_well_formed(tree: Tree):
    assert load_tree(tree)
