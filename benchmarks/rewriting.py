"""A table is rewritten while it is written: six foreign keys to it, triggers, grants, policies; and what it cost.

`python -m benchmarks --full --only rewrite` does it with 5 million rows. Whatever is lost, or stays with the old table,
ends the benchmark with what it was.
"""

import time
from collections.abc import AsyncGenerator
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.clients import Clients, updating
from benchmarks.lab import Lab
from benchmarks.measure import Pace, Row, Spread, Target
from cloudlab.schema import online
from cloudlab.schema.online_operations import build
from cloudlab.schema.online_running import Manners, Note
from cloudlab.schema.online_steps import Phase

NAME = "rewrite"
METHOD = (
    "rewrite_table under two clients that update, insert, delete and refer to its rows; floor: the longest wait of the "
    "same clients alone, just before, in the same run. All rows, every acknowledged write, foreign keys, triggers, "
    "policies and grants are compared in the end"
)
_ROWS, _QUICK_ROWS, _FULL_ROWS = 500_000, 50_000, 5_000_000
_ALONE_SECONDS, _QUICK_ALONE_SECONDS = 20.0, 1.0
_EVERY = 5
_CHILDREN = 6
_SWITCH = "let the two change places"
_MADE: LiteralString = """
    CREATE SCHEMA bench;
    CREATE TABLE bench.vendors (vendor_id integer PRIMARY KEY);
    INSERT INTO bench.vendors SELECT n FROM generate_series(0, 99) AS n;
    CREATE TABLE bench.items (
        item_id uuid PRIMARY KEY, number integer NOT NULL, vendor_id integer NOT NULL REFERENCES bench.vendors,
        name text NOT NULL, touched integer NOT NULL DEFAULT 0, value integer CHECK (value >= 0));
    INSERT INTO bench.items (item_id, number, vendor_id, name, value)
        SELECT gen_random_uuid(), n, n % 100, 'item ' || n, 1 FROM generate_series(0, {rows} - 1) AS n;
    CREATE UNIQUE INDEX idx_items_number ON bench.items (number);
    CREATE INDEX idx_items_vendor ON bench.items (vendor_id) WHERE value > 0;
    COMMENT ON TABLE bench.items IS 'what is sold';
    COMMENT ON COLUMN bench.items.name IS 'as the customer reads it';
    CREATE TABLE bench.audit (number integer, what text);
    CREATE FUNCTION bench.note() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO bench.audit VALUES (coalesce(NEW.number, OLD.number), TG_OP); RETURN NULL; END $$;
    CREATE TRIGGER audited AFTER INSERT OR DELETE ON bench.items FOR EACH ROW EXECUTE FUNCTION bench.note();
    CREATE TRIGGER asleep BEFORE UPDATE ON bench.items FOR EACH ROW EXECUTE FUNCTION bench.note();
    ALTER TABLE bench.items DISABLE TRIGGER asleep, ENABLE ROW LEVEL SECURITY;
    CREATE POLICY seen ON bench.items USING (value >= 0) WITH CHECK (value < 1000);
    CREATE POLICY narrow ON bench.items AS RESTRICTIVE FOR SELECT TO pg_monitor USING (name <> 'secret');
    GRANT SELECT, UPDATE (name) ON bench.items TO pg_monitor;
    GRANT INSERT ON bench.items TO PUBLIC;
    CREATE VIEW bench.shown AS SELECT number, name FROM bench.items;
"""
_CHILD: LiteralString = """
    CREATE TABLE bench.{child} (child_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item_id uuid NOT NULL);
    INSERT INTO bench.{child} (item_id) SELECT item_id FROM bench.items WHERE number % 50 = {number};
    CREATE INDEX ON bench.{child} (item_id);
    ALTER TABLE bench.{child} ADD CONSTRAINT {key} FOREIGN KEY (item_id) REFERENCES bench.items
        ON DELETE {action};
"""
_ANATOMY: LiteralString = """
    SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated)
    FROM pg_constraint WHERE contype <> 'n' AND 'bench.items'::regclass IN (conrelid, confrelid)
    UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisvalid) FROM pg_index
    WHERE indrelid = 'bench.items'::regclass
    UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger
    WHERE tgrelid = 'bench.items'::regclass AND NOT tgisinternal
    UNION ALL SELECT concat_ws(' ', 'policy', polname, polcmd, polpermissive, polroles::text,
        pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid))
    FROM pg_policy WHERE polrelid = 'bench.items'::regclass
    UNION ALL SELECT concat_ws(' ', 'column', attnum, attname, atttypid::regtype, attnotnull, attacl::text,
        col_description(attrelid, attnum))
    FROM pg_attribute WHERE attrelid = 'bench.items'::regclass AND attnum > 0
    UNION ALL SELECT concat_ws(' ', 'table', array(SELECT x::text FROM unnest(relacl) AS x ORDER BY 1)::text,
        relrowsecurity, obj_description(oid, 'pg_class'))
    FROM pg_class WHERE oid = 'bench.items'::regclass
    UNION ALL SELECT concat_ws(' ', 'view', pg_get_viewdef('bench.shown'::regclass))
    UNION ALL SELECT concat_ws(' ', 'schema', nspname) FROM pg_namespace WHERE nspname LIKE '%bench%'
    ORDER BY 1
"""
_CHECKSUM: LiteralString = """
    SELECT count(*), sum(hashtextextended(ROW(item_id, number, vendor_id, name, value)::text, 0)::numeric)
    FROM bench.items WHERE number < %s
"""


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Make a database of its own for it, and drop it in the end."""
    lab.run("CREATE DATABASE bench_rewrite")
    url = make_conninfo(lab.superuser_url, dbname="bench_rewrite")
    try:
        async for row in measured(url, pace):
            yield row
    finally:
        lab.run("DROP DATABASE bench_rewrite WITH (FORCE)")


async def measured(url: str, pace: Pace) -> AsyncGenerator[Row]:
    """Rewrite the table in a database and yield the rate, the longest wait and the time of the switch."""
    count = _QUICK_ROWS if pace.quick else _FULL_ROWS if pace.full else _ROWS
    _make(url, count)
    before, sums = _lines(url, _ANATOMY), _checksum(url, count)
    operation, notes = build("rewrite_table", ["table=items"]), list[tuple[float, Note]]()
    manners = Manners(told=lambda note: notes.append((time.monotonic(), note)))
    alone = _QUICK_ALONE_SECONDS if pace.quick else _ALONE_SECONDS
    with updating(url, count, alone_seconds=alone, every=_EVERY) as clients:
        began = time.monotonic()
        done = await online.run(url, operation, schema="bench", manners=manners)
        expanded = time.monotonic() - began
        await online.go_on(url, done.operation_id, schema="bench", phase=Phase.CONTRACT, manners=manners)
        seconds = time.monotonic() - began
    assert not clients.failed, clients.failed[0]
    assert _checksum(url, count) == sums, "rows that nobody changed are not the same"
    after = _lines(url, _ANATOMY)
    assert after == before, sorted(set(before) ^ set(after))
    _nothing_is_lost(url, count, clients)
    what = f"{count:,} rows rewritten under load, six foreign keys"
    found = clients.done
    yield Row(
        NAME, what, "/s", _one(count / seconds),
        detail=f"{expanded:.0f} s until all is validated, {seconds:.0f} s with contract; {found.updates:,} updates,"
        f" {found.inserts:,} inserts, {found.deletes:,} deletes, {found.children:,} references meanwhile, none lost",
    )  # fmt: skip
    floor = max(clients.alone_ms, 0.001)
    ratio, bound = _one(clients.worst_ms / floor), Target("≤", 60, of="figure")
    what = f"longest wait while {count:,} rows are rewritten"
    yield Row(NAME, what, "ms", _one(clients.worst_ms), _one(floor), ratio, bound, clients.beside())
    bound = Target("≤", 30, of="figure")
    yield Row(NAME, "locks held for the switch", "ms", _one(_switch_ms(notes)), target=bound)


def _one(value: float) -> Spread:
    return Spread.of([value])


def _switch_ms(notes: list[tuple[float, Note]]) -> float:
    """Return how long the locks of the switch were held, from the first statement under them to the end of COMMIT."""
    tries = [at for at, note in notes if note.step == _SWITCH and note.text == "statement"]
    ended = next(at for at, note in notes if note.step == _SWITCH and note.text == "done")
    return 1000 * (ended - tries[0])


def _make(url: str, count: int) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(sql.SQL(_MADE).format(rows=sql.Literal(count)))
        for number in range(_CHILDREN):
            parts = {
                "child": sql.Identifier(f"child_{number}"),
                "key": sql.Identifier(f"fk_child_{number}"),
                "number": sql.Literal(number),
                "action": sql.SQL("CASCADE" if number % 2 else "RESTRICT"),
            }
            conn.execute(sql.SQL(_CHILD).format(**parts))
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")


def _lines(url: str, query: LiteralString) -> list[str]:
    with psycopg.connect(url) as conn:
        return [str(row[0]) for row in conn.execute(query).fetchall()]


def _checksum(url: str, count: int) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as conn:
        return conn.execute(_CHECKSUM, [count]).fetchall()


def _nothing_is_lost(url: str, count: int, clients: Clients) -> None:
    """Compare the table with what was acknowledged: updates, rows of the clients' own, triggers, foreign keys."""
    done = clients.done
    with psycopg.connect(url) as conn:
        assert conn.execute("SELECT sum(touched) FROM bench.items").fetchone() == (done.updates,), "an update is lost"
        own = conn.execute("SELECT number FROM bench.items WHERE number >= %s", [count]).fetchall()
        assert {number for (number,) in own} == done.own, "inserted or deleted rows are lost"
        fired = dict(conn.execute("SELECT what, count(*) FROM bench.audit GROUP BY what").fetchall())
        assert fired == {"INSERT": done.inserts, "DELETE": done.deletes}, f"the trigger fired {fired} times"
        for number in range(_CHILDREN):
            child = {"child": sql.Identifier("bench", f"child_{number}")}
            orphans: LiteralString = (
                "SELECT count(*) FROM {child} AS c"
                " WHERE NOT EXISTS (SELECT FROM bench.items AS i WHERE i.item_id = c.item_id)"
            )
            assert conn.execute(sql.SQL(orphans).format(**child)).fetchone() == (0,), f"child_{number} has orphans"
            try:
                with conn.transaction():
                    conn.execute(sql.SQL("INSERT INTO {child} (item_id) VALUES (gen_random_uuid())").format(**child))
            except psycopg.errors.ForeignKeyViolation:
                continue
            raise AssertionError(f"the foreign key of child_{number} does not hold")
