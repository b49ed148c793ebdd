"""A live database is read into the same model on every version, and judged by the same rules.

Standard: §11.2 Implementation Guidelines
"""

import asyncio
from collections.abc import Callable

import psycopg
import pytest

from cloudlab.standards import checking, reading
from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.rule import Finding, Rule, Server
from cloudlab.standards.rules import every, named
from fixtures.postgres import Cluster

FAMILIES = ("NM", "TY", "CN", "CM", "PK", "FK", "TS", "IX", "PT", "EV", "SG", "RT")
# A bad example that a server refuses, or that is bad only before a server has understood it.
REFUSED = {
    "PK05": "PostgreSQL refuses the key",
    "CN05": "a server has a name for every constraint",
    "CN02": "a server has turned 'now()' into the moment; the other examples are seen",
    "PT01": "a server knows which partitions are there, whatever functions may make",
    "NM03": "names that are too long have been cut",
    "IX02": "the second half is about statements",
}

SCHEMA = """
    CREATE TYPE state AS ENUM ('draft', 'paid');
    CREATE TABLE users (user_id uuid PRIMARY KEY, email varchar(255) NOT NULL, born date, tags text[]);
    COMMENT ON TABLE users IS 'People'; COMMENT ON COLUMN users.email IS 'Where they get mail';
    CREATE UNIQUE INDEX uq_users_email ON users (lower(email)) WHERE born IS NOT NULL;
    CREATE TABLE orders (
        order_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        user_id uuid REFERENCES users ON DELETE SET NULL (user_id),
        state state NOT NULL DEFAULT 'draft',
        total numeric(19,4),
        twice numeric(19,4) GENERATED ALWAYS AS (total * 2) STORED,
        CONSTRAINT chk_total CHECK (total >= 0)
    ) WITH (fillfactor = 90);
    ALTER TABLE orders ADD CONSTRAINT chk_late CHECK (total < 9) NOT VALID;
    CREATE INDEX idx_orders_user ON orders (user_id DESC NULLS LAST, order_id) INCLUDE (total);
    ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
    ALTER TABLE orders FORCE ROW LEVEL SECURITY;
    CREATE POLICY mine ON orders AS RESTRICTIVE FOR SELECT USING (user_id IS NOT NULL);
    GRANT SELECT, INSERT ON orders TO application_readwrite;
    CREATE TABLE events (at date NOT NULL) PARTITION BY RANGE (at);
    CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
    CREATE TABLE events_rest PARTITION OF events DEFAULT;
    CREATE FUNCTION f(a integer) RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
        AS 'SELECT a';
    REVOKE EXECUTE ON FUNCTION f FROM PUBLIC;
    CREATE VIEW rich WITH (security_invoker = true) AS SELECT order_id FROM orders WHERE total > 5;
    CREATE EXTENSION pg_trgm;
"""


@pytest.fixture
def read(each_postgres: Cluster) -> Callable[[str], Catalog]:
    """Make a schema in a database of its own, and read it."""

    def reader(sql: str) -> Catalog:
        async def ask(url: str) -> Catalog:
            async with reading.connect(url) as conn:
                return await reading.read_schema(conn)

        with each_postgres.database() as name:
            url = each_postgres.url(name, "postgres")
            with psycopg.connect(url, autocommit=True) as conn:
                conn.execute(sql.encode())
            return asyncio.run(ask(url))

    return reader


@pytest.fixture
def tables(read: Callable[[str], Catalog]) -> dict[str, Table]:
    return {name: table for (_, name), table in read(SCHEMA).tables.items()}


def test_columns_are_read_as_they_were_declared(tables: dict[str, Table]):
    orders = tables["orders"]
    assert [(one.name, one.type) for one in orders.columns.values()] == [
        ("order_id", "bigint"),
        ("user_id", "uuid"),
        ("state", "public.state"),
        ("total", "numeric(19,4)"),
        ("twice", "numeric(19,4)"),
    ]
    assert orders.columns["order_id"].identity
    assert orders.columns["state"].default is not None
    assert (orders.columns["twice"].default, bool(orders.columns["twice"].generated)) == (None, True)
    assert (tables["users"].comment, tables["users"].columns["email"].comment) == ("People", "Where they get mail")
    assert tables["users"].columns["tags"].type == "text[]"
    assert orders.options == {"fillfactor": "90"}


def test_constraints_say_what_they_refer_to(tables: dict[str, Table]):
    key = next(tables["orders"].of_kind("f"))
    assert (key.referenced, key.referenced_columns) == (("public", "users"), ("user_id",))
    assert (key.on_delete, key.on_delete_columns) == ("set null", ("user_id",))
    assert {one.name: one.validated for one in tables["orders"].of_kind("c")} == {"chk_total": True, "chk_late": False}
    assert tables["orders"].constraints["chk_total"].columns == ("total",)


def test_indexes_say_how_they_are_ordered(tables: dict[str, Table]):
    index = tables["orders"].indexes["idx_orders_user"]
    assert (index.columns, index.options, index.include) == (
        ("user_id", "order_id"),
        ("desc nulls last", ""),
        ("total",),
    )
    unique = tables["users"].indexes["uq_users_email"]
    assert (unique.columns, unique.unique, len(unique.expressions)) == ((None,), True, 1)
    assert unique.predicate is not None
    assert "born" in unique.predicate.text


def test_security_is_read(tables: dict[str, Table], read: Callable[[str], Catalog]):
    orders = tables["orders"]
    assert (orders.row_security, orders.force_row_security) == (True, True)
    assert (orders.policies["mine"].permissive, orders.policies["mine"].command) == (False, "select")
    assert orders.grants["application_readwrite"] == {"select", "insert"}
    catalog = read(SCHEMA)
    function = catalog.functions["public", "f", "a integer"]
    assert (function.security_definer, function.search_path, function.public_execute) == (True, "pg_catalog", False)
    assert not any(name == "similarity" for _, name, _ in catalog.functions), "functions of extensions are nobody's"
    assert tables["rich"].options == {"security_invoker": "true"}


def test_partitions_say_what_they_hold(tables: dict[str, Table]):
    assert tables["events"].partition_key == ("at",)
    assert tables["events_1"].partition_of == ("public", "events")
    assert tables["events_1"].partition_bound == "FROM ('2025-01-01') TO ('2025-02-01')"
    assert tables["events_rest"].partition_bound == "default"


EXAMPLES = [
    (rule, sql, is_bad)
    for rule in every()
    if rule.schema and rule.id.startswith(FAMILIES) and rule.id not in REFUSED
    for examples, is_bad in ((rule.bad, True), (rule.good, False))
    for sql in examples[:2]
]


def judged(catalog: Catalog, rule: Rule) -> list[Finding]:
    return list(checking.of_schema(catalog, [rule]))


def test_rules_judge_a_server_as_they_judge_files(each_postgres: Cluster):
    """Two bad and two good examples of each rule, made on a server and read from it; what it refuses is left out."""
    wrong: list[str] = []
    made = 0
    with each_postgres.database() as name:
        url = each_postgres.url(name, "postgres")
        for rule, sql, is_bad in EXAMPLES:
            with psycopg.connect(url, autocommit=True) as conn:
                conn.execute(_CLEARED)
                try:
                    conn.execute(_PREPARED + sql.encode())
                except psycopg.Error:
                    continue
            made += 1
            if bool(judged(asyncio.run(_read(url)), rule)) != is_bad:
                wrong.append(f"{rule.id} {'is silent about' if is_bad else 'reports'} {sql}")
    assert not wrong, "\n".join(wrong)
    assert made > len(EXAMPLES) * 0.7, f"only {made} of {len(EXAMPLES)} examples could be made"


_CLEARED = b"""
    DO $$ DECLARE s text; BEGIN
        FOR s IN SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)' LOOP
            EXECUTE 'DROP SCHEMA ' || s || ' CASCADE';
        END LOOP;
    END $$; CREATE SCHEMA public
"""
_PREPARED = b"""
    CREATE FUNCTION public.current_tenant() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid';
"""


async def _read(url: str) -> Catalog:
    async with reading.connect(url) as conn:
        return await reading.read_schema(conn)


def test_a_server_says_which_indexes_nobody_uses():
    index = {"table": "t", "index": "public.i", "size": 20 * 1024**2, "used_others": 5000, "days": 30.0}
    rule = named("IX03")
    assert rule.server
    assert [one.name for one in rule.server(Server(18, {}, {"unused_indexes": [index]}))] == ["public.i"]
    for change in ({"days": 3.0}, {"size": 8192}, {"used_others": 10}):
        assert not list(rule.server(Server(18, {}, {"unused_indexes": [index | change]})))


def test_a_server_says_which_tables_are_not_looked_after():
    table = {"name": "public.t", "live": 600_000, "dead": 300_000, "analyzed": None}
    rule = named("IX07")
    assert rule.server
    assert "300,000 of 900,000 rows are dead" in next(rule.server(Server(18, {}, {"tables": [table]}))).message
    assert not list(rule.server(Server(18, {}, {"tables": [table | {"dead": 200_000}]})))
    assert not list(rule.server(Server(18, {}, {"tables": [table | {"live": 6, "dead": 3}]})))


async def test_all_facts_can_be_asked_for(database: str):
    _, server = await reading.read(database)
    assert server.facts["unused_indexes"] == []
    assert server.version >= 15


def test_an_invalid_index_is_reported(each_postgres: Cluster):
    with (
        each_postgres.database() as name,
        psycopg.connect(each_postgres.url(name, "postgres"), autocommit=True) as conn,
    ):
        conn.execute("CREATE TABLE t (a integer); INSERT INTO t VALUES (1), (1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            conn.execute("CREATE UNIQUE INDEX CONCURRENTLY uq_t_a ON t (a)")
        findings = judged(asyncio.run(_read(each_postgres.url(name, "postgres"))), named("IX02"))
    assert [finding.found.name for finding in findings] == ["t.uq_t_a"]
