"""What is folded from files is what a server says after it has run them.

Standard: §11.2 Implementation Guidelines
"""

import asyncio
from pathlib import Path

import psycopg
import pytest

from cloudlab.schema.files import Tree, load_tree
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.schema.postgres import PLATFORM_SCHEMA
from cloudlab.standards import reading
from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.folding import fold
from cloudlab.standards.scripts import Script, read_files
from fixtures.postgres import Cluster


def folded(*texts: str, schema: str = "public", catalog: Catalog | None = None) -> Catalog:
    """Fold the texts of files, one after the other, into a schema."""
    catalog = catalog or Catalog()
    catalog.default_schema = schema
    for number, text in enumerate(texts, 1):
        for statement in Script(f"{number}.sql", text, number).statements:
            assert not statement.problem, statement.problem
            fold(catalog, statement, number)
    return catalog


def live(url: str) -> Catalog:
    """Read a database."""

    async def read() -> Catalog:
        async with reading.connect(url) as conn:
            return await reading.read_schema(conn)

    return asyncio.run(read())


def described(table: Table) -> list[str]:
    """Say what a table consists of, one line for each thing; of expressions only that they are there.

    A server writes expressions in its own way and adds casts to them. It gives a partition the keys and indexes of its
    table; the model keeps those with the table.
    """
    lines = [
        f"table {table.kind} {table.partition_of} {table.partition_strategy} {table.partition_key} {table.comment}"
    ]
    for one in table.columns.values():
        has = [bool(one.default), one.identity, bool(one.generated)]
        lines.append(f"column {one.name} {one.type} not null {one.not_null} has {has} {one.comment}")
    for one in table.of_kind("c", *(() if table.is_partition else "pufx")):
        refers = f"{one.referenced} {one.referenced_columns} {one.on_delete} {one.on_delete_columns}"
        lines.append(f"constraint {one.name} {one.kind} {sorted(one.columns)} {refers} {one.validated} {one.comment}")
    for one in () if table.is_partition else table.indexes.values():
        has = [bool(one.predicate), one.unique, one.constraint, len(one.expressions)]
        lines.append(f"index {one.name} {one.method} {one.columns} {one.options} {one.include} {has}")
    lines += [f"trigger {one.name} {one.when} {sorted(one.events)}" for one in table.triggers.values()]
    # A function that was called with its name may have done this; the model says that it does not know.
    if not table.is_opaque:
        lines.append(f"security {table.row_security} {table.force_row_security} {sorted(table.policies)}")
    return sorted(lines)


def different(files: Catalog, server: Catalog, *, but_not: str = "") -> list[str]:
    """Say where two models differ; tables whose name begins with `but_not` are left out when only a server has them."""
    found = [f"only in files: {key}" for key in files.tables.keys() - server.tables.keys()]
    only_there = server.tables.keys() - files.tables.keys()
    found += [f"only on the server: {key}" for key in only_there if not (but_not and key[1].startswith(but_not))]
    for key in files.tables.keys() & server.tables.keys():
        mine, its = files.tables[key], server.tables[key]
        if not mine.is_table:
            continue
        wanted = described(its)
        if mine.is_opaque:
            wanted = [line for line in wanted if not line.startswith("security")]
        found += [f"{key} files: {line}" for line in described(mine) if line not in wanted]
        found += [f"{key} server: {line}" for line in wanted if line not in described(mine)]
    return sorted(found)


def test_the_platforms_own_migrations_fold_to_what_a_server_has(migrated: Cluster):
    catalog = folded(*(file.path.read_text() for file in load_tree(Tree.SHARD)), schema=PLATFORM_SCHEMA)
    tenant = (file.path.read_text() for file in load_tree(Tree.TENANT))
    catalog = folded(*tenant, schema=SHOP_SCHEMA, catalog=catalog)
    with migrated.database("shard", "shard_template") as name:
        server = live(migrated.url(name, "postgres"))
    # Made by the runner, not by a migration.
    for schema in (PLATFORM_SCHEMA, SHOP_SCHEMA):
        assert server.tables.pop((schema, "schema_migrations"), None)
    # ensure_event_partitions() makes the months; files do not say which.
    assert different(catalog, server, but_not="events_2") == []
    assert {key: enum.labels for key, enum in catalog.enums.items()} == {
        key: enum.labels for key, enum in server.enums.items()
    }
    comments = {name: one.comment for (_, name, _), one in catalog.functions.items()}
    assert {name: one.comment for (_, name, _), one in server.functions.items()}.items() <= comments.items()


STATEMENTS = {
    "columns": "CREATE TABLE t (a serial, b varchar(9) NOT NULL DEFAULT 'x', c timestamptz(3), d decimal(9,2)[],"
    " e bigint GENERATED ALWAYS AS IDENTITY, f int GENERATED ALWAYS AS (a + 1) STORED, g char, h bit varying(3),"
    ' "i J" interval day to second (3), k "char", l double precision, m float(3), n name, o int[]);'
    " ALTER TABLE t ALTER COLUMN b DROP NOT NULL, ALTER COLUMN b DROP DEFAULT, ALTER COLUMN c TYPE date,"
    " ADD COLUMN p uuid DEFAULT gen_random_uuid(), DROP COLUMN o, ADD COLUMN IF NOT EXISTS p text;",
    "constraints": "CREATE TABLE u (t int, u int, PRIMARY KEY (t, u), CHECK (t > u), UNIQUE (u));"
    " CREATE TABLE o (o int PRIMARY KEY, t int NOT NULL CHECK (t > 0) CHECK (t < 9), u int,"
    " FOREIGN KEY (t, u) REFERENCES u ON DELETE SET NULL (u), CONSTRAINT named UNIQUE (u, t) INCLUDE (o));"
    " ALTER TABLE o ADD FOREIGN KEY (u) REFERENCES u (u) ON DELETE CASCADE NOT VALID;"
    " ALTER TABLE o ADD CONSTRAINT late CHECK (u > 1) NOT VALID; ALTER TABLE o VALIDATE CONSTRAINT late;"
    " ALTER TABLE o RENAME CONSTRAINT late TO later; COMMENT ON CONSTRAINT later ON o IS 'No ones';"
    " CREATE TABLE r (r int4range, EXCLUDE USING gist (r WITH &&));",
    "indexes": "CREATE TABLE t (a text, b int, c jsonb, d int); CREATE INDEX i ON t (a text_pattern_ops, b DESC);"
    " CREATE UNIQUE INDEX j ON t (lower(a), b DESC NULLS LAST) INCLUDE (d) WHERE b > 1; CREATE INDEX ON t (b);"
    ' CREATE INDEX k ON t USING gin (c jsonb_path_ops); CREATE INDEX l ON t (a COLLATE "C", b NULLS FIRST);'
    " CREATE INDEX ON t (b); CREATE INDEX ON t (lower(a), (b + 1)); DROP INDEX k; ALTER INDEX i RENAME TO i2;"
    " CREATE UNIQUE INDEX m ON t (d); ALTER TABLE t ADD CONSTRAINT pk_t PRIMARY KEY USING INDEX m;",
    "renames": "CREATE TABLE u (u int PRIMARY KEY); CREATE TABLE o (u int REFERENCES u, CHECK (u > 0));"
    " ALTER TABLE u RENAME TO users; ALTER TABLE users RENAME COLUMN u TO user_id; CREATE SCHEMA s;"
    " ALTER TABLE users SET SCHEMA s; ALTER SCHEMA s RENAME TO shop; ALTER TABLE o RENAME COLUMN u TO user_id;",
    "drops": "CREATE TABLE u (u int PRIMARY KEY, v int UNIQUE, w int CHECK (w > 0));"
    " CREATE TABLE o (u int REFERENCES u); CREATE TABLE p (u int REFERENCES u); DROP TABLE o;"
    " ALTER TABLE u DROP COLUMN v, DROP COLUMN w;"
    " CREATE SCHEMA s; CREATE TABLE s.t (a int); DROP SCHEMA s CASCADE; DROP TABLE u CASCADE;",
    "enums": "CREATE TYPE s AS ENUM ('a', 'c'); CREATE TABLE t (s s NOT NULL DEFAULT 'a', l s[]);"
    " ALTER TYPE s ADD VALUE 'b' BEFORE 'c'; ALTER TYPE s RENAME VALUE 'a' TO 'A'; ALTER TYPE s RENAME TO state;",
    "like": "CREATE TABLE t (a int PRIMARY KEY, b text DEFAULT 'x' CHECK (b <> ''), c int GENERATED ALWAYS AS IDENTITY,"
    " d int UNIQUE); COMMENT ON COLUMN t.b IS 'B'; CREATE INDEX i ON t (b, a); CREATE TABLE u (LIKE t INCLUDING ALL);"
    " CREATE TABLE v (LIKE t); CREATE TABLE w (LIKE t INCLUDING ALL EXCLUDING INDEXES, e int);",
    "partitions": "CREATE TABLE e (a int, at date NOT NULL, PRIMARY KEY (a, at)) PARTITION BY RANGE (at);"
    " CREATE TABLE e1 (a int NOT NULL, at date NOT NULL);"
    " ALTER TABLE e ATTACH PARTITION e1 FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');"
    " CREATE TABLE h (a int) PARTITION BY HASH (a);"
    " CREATE TABLE l (a int) PARTITION BY LIST ((a + 1));",
    "security": "CREATE TABLE t (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
    " CREATE POLICY p ON t USING (a > 0); CREATE POLICY q ON t USING (true); DROP POLICY q ON t;"
    " CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    " CREATE TRIGGER g BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f();",
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_statements_fold_to_what_a_server_has(database: str, name: str):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA app")
        conn.execute("SET search_path = app")
        conn.execute(STATEMENTS[name].encode())
    catalog = folded(STATEMENTS[name], schema="app")
    server = live(database)
    assert different(catalog, server) == []
    assert {key: enum.labels for key, enum in catalog.enums.items()} == {
        key: enum.labels for key, enum in server.enums.items()
    }


def test_what_a_function_does_to_a_table_is_not_known():
    table = folded("CREATE TABLE t (a int); SELECT protect('t');").tables["public", "t"]
    assert table.is_opaque


def test_a_block_that_names_a_table_may_do_anything_to_it():
    table = folded("CREATE TABLE t (a int); DO $$ BEGIN EXECUTE 'ALTER TABLE t ENABLE ROW LEVEL SECURITY'; END $$;")
    assert table.tables["public", "t"].is_opaque


def test_folders_named_after_days_come_after_folders_named_after_seconds(tmp_path: Path):
    for name in ("2019-03-22-170700_later", "20140924113530_first"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "up.sql").write_text("SELECT 1;")
    read = [Path(script.path).parent.name for script in read_files([tmp_path])]
    assert read == ["20140924113530_first", "2019-03-22-170700_later"]


def test_bounds_are_what_a_server_says(database: str):
    sql = (
        "CREATE TABLE e (a int) PARTITION BY RANGE (a);"
        " CREATE TABLE e1 PARTITION OF e FOR VALUES FROM (1) TO (MAXVALUE);"
        " CREATE TABLE h (a int) PARTITION BY HASH (a);"
        " CREATE TABLE h1 PARTITION OF h FOR VALUES WITH (modulus 4, remainder 1);"
        " CREATE TABLE l (a text) PARTITION BY LIST (a); CREATE TABLE l1 PARTITION OF l FOR VALUES IN ('a', NULL);"
        " CREATE TABLE l2 PARTITION OF l DEFAULT;"
    )
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute(sql.encode())
    bounds = {key: table.partition_bound.replace("'", "") for key, table in folded(sql).tables.items()}
    assert bounds == {key: table.partition_bound.replace("'", "") for key, table in live(database).tables.items()}


def test_a_renamed_function_is_what_its_triggers_call():
    catalog = folded(
        "CREATE TABLE t (a int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER one BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f();"
        "ALTER FUNCTION f() RENAME TO g; ALTER TRIGGER one ON t RENAME TO two;"
    )
    assert {name for _, name, _ in catalog.functions} == {"g"}
    assert [(one.name, one.function) for one in catalog.tables["public", "t"].triggers.values()] == [("two", "g")]
