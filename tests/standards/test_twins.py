"""Of many schemas that are alike two are read and judged: what is found is what reading and judging all of them finds.

Standard: §4.1 Tenant-Specific Schemas
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from cloudlab.standards import checking, reading, rules
from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.rule import Found, Rule
from fixtures.postgres import Cluster

SHARED = """
    CREATE TABLE public.countries (country_id uuid PRIMARY KEY, name text);
    CREATE TYPE public.colour AS ENUM ('red', 'Green');
    CREATE FUNCTION public.archive_orders() RETURNS void LANGUAGE plpgsql AS
        'BEGIN INSERT INTO countries_archive SELECT * FROM countries; DELETE FROM countries; END';
"""
# A little of everything that the model holds, and something for many rules to find.
TENANT = """
    CREATE TYPE state AS ENUM ('draft', 'paid');
    CREATE TABLE users (id serial PRIMARY KEY, email varchar(255) NOT NULL, name text DEFAULT 'NULL', tags json,
        password text, created_at timestamp, colour public.colour, state state DEFAULT 'draft');
    CREATE UNIQUE INDEX users_email ON users (email);
    CREATE INDEX idx_users_lower ON users (lower(name)) WHERE state = 'paid';
    CREATE TABLE orders (
        order_id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id integer REFERENCES users,
        country_id uuid REFERENCES public.countries ON DELETE CASCADE, tenant_id uuid, total real, status varchar(20),
        placed_at timestamptz CHECK (placed_at < now()), updated_at timestamptz
    );
    ALTER TABLE orders ADD CONSTRAINT chk_orders_status CHECK (status <> 'gone') NOT VALID;
    COMMENT ON TABLE orders IS 'Orders'; COMMENT ON COLUMN orders.total IS 'What is to be paid for all of it';
    CREATE TABLE orders_archive (LIKE orders);
    ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
    CREATE POLICY own ON orders USING (tenant_id = current_setting('app.tenant')::uuid);
    GRANT SELECT ON orders TO PUBLIC;
    CREATE VIEW rich AS SELECT order_id FROM orders WHERE total > 5;
    CREATE TABLE events (aggregate_id uuid, at date NOT NULL) PARTITION BY RANGE (at);
    CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2025-02-01');
    CREATE TABLE events_rest PARTITION OF events DEFAULT;
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at = now(); RETURN NEW; END';
    CREATE FUNCTION own_state(state) RETURNS state LANGUAGE sql SECURITY DEFINER AS 'SELECT $1';
    CREATE TRIGGER trg_orders BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();
"""
_EXPRESSION = re.compile(r"Expression\(_text=('[^']*'|\"[^\"]*\"|None), _tree=.*?\)(?=[,)])", re.DOTALL)
NAMES = [f"tenant_{number:03}" for number in range(1, 25)]
# What sets one of them apart.
DIFFERENT = {
    "tenant_001": "DROP INDEX users_email",
    "tenant_003": "ALTER TABLE orders ADD COLUMN note text",
    "tenant_005": "ALTER POLICY own ON orders USING (true)",
    "tenant_007": "COMMENT ON TABLE orders IS 'What was ordered'",
    "tenant_009": "ALTER TABLE orders ADD CONSTRAINT away FOREIGN KEY (user_id) REFERENCES tenant_010.users (id)",
    "tenant_011": "ALTER TYPE state ADD VALUE 'void'",
    "tenant_012": "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "tenant_013": "ALTER TABLE orders FORCE ROW LEVEL SECURITY",
    "tenant_014": "ALTER TABLE users ALTER COLUMN name SET DEFAULT 'none'",
    "tenant_015": "GRANT DELETE ON orders TO PUBLIC",
    "tenant_016": "CREATE VIEW public.of_sixteen AS SELECT order_id FROM tenant_016.orders",
    "tenant_017": "DROP TRIGGER trg_orders ON orders",
    "tenant_018": "INSERT INTO events VALUES (gen_random_uuid(), '2030-01-01'); ANALYZE events_rest",
    "tenant_019": "ALTER TABLE orders VALIDATE CONSTRAINT chk_orders_status",
}


def made(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(SHARED)
        for name in [*NAMES, "Tenant-Odd", "acme"]:
            conn.execute(sql.SQL("CREATE SCHEMA {0}; SET search_path = {0}").format(sql.Identifier(name)))
            conn.execute(TENANT)
        for name, change in DIFFERENT.items():
            conn.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(name)))
            conn.execute(change.encode())


@pytest.fixture
def both(each_postgres: Cluster) -> tuple[Catalog, Catalog]:
    """One database, read as a whole and by its twins."""

    async def ask(url: str) -> Catalog:
        async with reading.connect(url) as conn:
            return await reading.read_schema(conn)

    with each_postgres.database() as name:
        url = each_postgres.url(name, "postgres")
        made(url)
        whole = asyncio.run(ask(url))
        shared, _ = asyncio.run(reading.read(url))
    return whole, shared


def found(catalog: Catalog, asked: tuple[Rule, ...] = ()) -> list[tuple[str, Found]]:
    all_found = checking.of_schema(catalog, asked or None)
    return sorted(((one.rule.id, one.found) for one in all_found), key=repr)


def test_what_is_found_is_what_judging_every_schema_finds(both: tuple[Catalog, Catalog]):
    whole, shared = both
    (twins,) = shared.twins
    assert set(twins.others) >= {"tenant_020", "tenant_021", "tenant_022", "tenant_023", "tenant_024"}
    assert not {*twins.others, twins.first, twins.second} & {*DIFFERENT, "tenant_010", "acme", "Tenant-Odd"}
    wanted = found(whole)
    assert len({rule for rule, _ in wanted}) > 25
    assert found(shared) == wanted


def test_a_schema_that_was_not_read_is_in_the_model_as_if_it_were(both: tuple[Catalog, Catalog]):
    whole, shared = both
    assert not whole.twins
    assert set(shared.tables) == set(whole.tables)
    assert (shared.enums, shared.functions, shared.schemas) == (whole.enums, whole.functions, whole.schemas)
    for key, table in whole.tables.items():
        for index in table.indexes.values():
            if shared.tables[key].indexes[index.name].scans is None:
                index.scans = index.size_bytes = None  # was not asked
        assert told(shared.tables[key]) == told(table)


def told(table: Table) -> list[str]:
    """What a table says of itself, in any order; expressions by their text, whether parsed or not."""
    parts = [*table.constraints.values(), *table.indexes.values(), *table.policies.values(), *table.triggers.values()]
    bare = replace(table, constraints={}, indexes={}, policies={}, triggers={})
    return sorted(_EXPRESSION.sub(r"\1", repr(part)) for part in [bare, *parts])


def test_a_rule_whose_findings_differ_by_more_than_the_name_is_asked_of_every_schema(both: tuple[Catalog, Catalog]):
    whole, shared = both

    def numbered(catalog: Catalog):
        for number, table in enumerate(sorted(catalog.tables.values(), key=str)):
            yield Found(f"is number {number}", table.at, str(table))

    rule = replace(rules.named("PK01"), schema=numbered)
    assert found(shared, (rule,)) == found(whole, (rule,))


def test_a_finding_elsewhere_that_names_a_schema_is_not_made_from_two(both: tuple[Catalog, Catalog]):
    whole, shared = both

    def listing(catalog: Catalog):
        tables = sorted(str(table) for table in catalog.tables.values() if table.name == "orders")
        yield Found(f"there are {', '.join(tables)}")

    rule = replace(rules.named("PK01"), schema=listing)
    assert found(shared, (rule,)) == found(whole, (rule,))


@pytest.fixture
def few(each_postgres: Cluster) -> Callable[[int], Catalog]:
    def read(count: int) -> Catalog:
        with each_postgres.database() as name:
            url = each_postgres.url(name, "postgres")
            with psycopg.connect(url, autocommit=True) as conn:
                for number in range(count):
                    conn.execute(f"CREATE SCHEMA s{number}; CREATE TABLE s{number}.a (a_id uuid)".encode())
            return asyncio.run(reading.read(url))[0]

    return read


@pytest.mark.parametrize(("count", "groups"), [(3, 0), (12, 1)])
def test_few_schemas_are_all_read(few: Callable[[int], Catalog], count: int, groups: int):
    catalog = few(count)
    assert len(catalog.twins) == groups
    assert {table.schema for table in catalog.tables.values()} == {f"s{number}" for number in range(count)}
