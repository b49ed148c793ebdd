"""A schema in words and drawings, and where two schemas differ.

Standard: §11.3 Operational Excellence
"""

import asyncio
import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import psycopg
import pytest

from cloudlab.schema.files import Tree
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.schema.postgres import PLATFORM_SCHEMA
from cloudlab.standards import diagram, dictionary, folders, reading
from cloudlab.standards.catalog import Catalog
from cloudlab.standards.differences import differences, items, unusual
from fixtures.postgres import TEMPLATES, Cluster

MADE = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE vendors (vendor_id bigint PRIMARY KEY, name varchar(40) NOT NULL CHECK (name IN ('a', 'b')));
CREATE TABLE items (
    item_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vendor_id bigint NOT NULL REFERENCES vendors ON DELETE CASCADE,
    mood mood DEFAULT 'good', price numeric(9, 2) CHECK (price BETWEEN 0 AND 1000 AND name LIKE 'x%'), name text,
    parent_id bigint REFERENCES items);
CREATE INDEX idx_items_price ON items (price) WHERE price > 5;
COMMENT ON TABLE items IS 'What is sold; <b>not</b> | *given*';
COMMENT ON COLUMN items.price IS 'In euro, `net`
over two lines';
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY seen ON items USING (price < 100);
CREATE FUNCTION noted(a integer) RETURNS integer LANGUAGE sql AS 'SELECT a';
CREATE VIEW cheap AS SELECT item_id FROM items WHERE price < 1;
CREATE TABLE alone (alone_id integer PRIMARY KEY);
"""


def live(url: str, *schemas: str) -> Catalog:
    async def read() -> Catalog:
        async with reading.connect(url) as conn:
            return await reading.read_schema(conn, schemas or None)

    return asyncio.run(read())


def made(url: str, *statements: str) -> Catalog:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(";".join([MADE, *statements]))
    return live(url)


def in_files(folder: Path, *statements: str) -> Catalog:
    (folder / "V1__made.sql").write_text(";\n".join([MADE, *statements]))
    return folders.of_folder(folder)


def test_the_dictionary_says_every_table_column_and_key_with_its_comment(database: str):
    catalog = made(database)
    text = dictionary.markdown(catalog, "The shop")
    assert "3 tables with 9 columns, 10 of them without a comment." in text
    assert "## Schema public" in text
    assert "### items" in text
    assert r"What is sold; \<b\>not\</b\> | \*given\* Row security is on." in text
    assert "| `price` | `numeric(9,2)` | yes |  | In euro, 'net' over two lines |" in text
    assert "| `item_id` | `bigint` |  | numbered |  |" in text
    assert r"→ `public.vendors` (vendor\_id), on delete cascade" in text
    assert r"Referred to by [items](#items) (vendor\_id)." in text
    assert "| `public.mood` | `good`, `bad` |  |" in text
    for word in ("`idx_items_price`", "`seen`", "Row security is on", "`cheap`", "`public.noted(a integer)`"):
        assert word in text
    page = dictionary.html(catalog, "The shop")
    assert "&lt;b&gt;not&lt;/b&gt; | *given*" in page
    assert '<a href="#vendors">vendors</a>' in page
    assert "<svg" in page
    assert "<script" not in page


def test_what_is_folded_is_described_as_what_is_read(database: str, tmp_path: Path):
    catalog, files = made(database), in_files(tmp_path)
    for heading in ("### items", "### vendors", "## Views", "## Functions"):
        assert heading in dictionary.markdown(files, "x")
    assert diagram.mermaid(diagram.drawn(files)) == diagram.mermaid(diagram.drawn(catalog))


def test_mermaid_has_every_table_column_and_reference(database: str):
    text = diagram.mermaid(diagram.drawn(made(database)))
    assert text.startswith("erDiagram\n")
    assert '    items["items"] {\n        bigint item_id PK\n        bigint vendor_id FK\n' in text
    assert "        numeric_9_2 price\n" in text
    assert '    vendors ||--o{ items : "vendor_id"' in text
    assert '    items |o--o{ items : "parent_id"' in text


@pytest.mark.parametrize("tree", [Tree.CONTROL, Tree.SHARD])
def test_the_drawing_of_our_own_tables_is_whole_and_no_box_lies_on_another(tree: Tree):
    catalog = folders.of_tree(tree)
    tables = diagram.drawn(catalog)
    root = ElementTree.fromstring(diagram.svg(tables))  # noqa: S314  our own drawing
    name = "{http://www.w3.org/2000/svg}"
    boxes = [
        tuple(float(rect.attrib[side]) for side in ("x", "y", "width", "height"))
        for rect in root.iter(f"{name}rect")
        if rect.attrib["class"] == "box"
    ]
    assert len(boxes) == len(tables)
    for (x, y, width, height), (u, v, *size) in itertools.combinations(boxes, 2):
        assert x + width <= u or u + size[0] <= x or y + height <= v or v + size[1] <= y
    references = [one for table in tables for one in table.of_kind("f") if one.referenced in catalog.tables]
    assert len(list(root.iter(f"{name}path"))) == len(references)
    words = {text for node in root.iter(f"{name}text") for text in node.itertext()}
    assert {str(table) for table in tables} <= words
    assert {column for table in tables for column in table.columns} <= words
    right, bottom = (float(root.attrib[side]) for side in ("width", "height"))
    assert all(x + width <= right and y + height <= bottom for x, y, width, height in boxes)


@pytest.mark.parametrize("tree", TEMPLATES)
def test_our_own_files_are_no_different_from_what_a_server_has(migrated: Cluster, tree: str):
    with migrated.database(tree, TEMPLATES[tree]) as name:
        there = live(migrated.url(name, "postgres"), PLATFORM_SCHEMA, SHOP_SCHEMA)
    assert list(map(str, differences(folders.of_tree(Tree(tree)), there))) == []


def test_a_database_made_from_the_files_is_no_different(database: str, tmp_path: Path):
    assert list(map(str, differences(in_files(tmp_path), made(database)))) == []


CHANGES = {
    "ALTER TABLE items ADD COLUMN weight integer": ["column public.items.weight: missing in the first"],
    "DROP TABLE alone": [
        "column public.alone.alone_id: missing in the second",
        "constraint public.alone.alone_pkey: missing in the second",
        "index public.alone.alone_pkey: missing in the second",
        "table public.alone: missing in the second",
    ],
    "ALTER TABLE vendors ALTER name TYPE varchar(50)": [
        "column public.vendors.name: type: character varying(40) → character varying(50)"
    ],
    "ALTER TABLE items ALTER mood SET DEFAULT 'bad'": ["column public.items.mood: default: 'good' → 'bad'"],
    "ALTER TABLE items ALTER vendor_id DROP NOT NULL": ["column public.items.vendor_id: not null: true → false"],
    "COMMENT ON TABLE items IS 'Other'": [
        "table public.items: comment: What is sold; <b>not</b> | *given* → Other",
    ],
    "ALTER TABLE vendors DROP CONSTRAINT vendors_name_check, ADD CONSTRAINT vendors_name_check"
    " CHECK (name IN ('a', 'c'))": [
        "constraint public.vendors.vendors_name_check: check: (name any ['a', 'b']) → (name = any ['a', 'c'])"
    ],
    "DROP INDEX idx_items_price; CREATE INDEX idx_items_price ON items (price) WHERE price > 6": [
        "index public.items.idx_items_price: where: (price > '5') → (price > '6')"
    ],
    "DROP POLICY seen ON items": ["policy public.items.seen: missing in the second"],
    "ALTER TABLE items DISABLE ROW LEVEL SECURITY": ["table public.items: row security: on → none"],
    "ALTER TYPE mood ADD VALUE 'odd'": ["enum public.mood: labels: good, bad → good, bad, odd"],
    "CREATE OR REPLACE FUNCTION noted(a integer) RETURNS integer LANGUAGE sql AS 'SELECT a + 1'": [
        "function public.noted(1 arguments): body: SELECT a → SELECT a + 1"
    ],
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_change_is_found_by_its_name_with_both_values(database: str, tmp_path: Path, change: str):
    found = list(map(str, differences(in_files(tmp_path), made(database, change))))
    wanted = CHANGES[change]
    if "IN (" in change:
        assert len(found) == 1
        assert re.search(r"'b'.* → .*'c'", found[0])
    else:
        assert sorted(found) == sorted(wanted)


def test_two_databases_are_compared_to_the_letter(each_postgres: Cluster):
    with each_postgres.database() as one, each_postgres.database() as other:
        first = made(each_postgres.url(one))
        second = made(each_postgres.url(other), "GRANT SELECT ON alone TO cloudlab_readonly")
        assert differences(first, first) == []
        assert [str(found) for found in differences(first, second)] == [
            "table public.alone: grants: none → cloudlab_readonly: select"
        ]


def test_of_many_schemas_the_unusual_one_is_found(database: str):
    with psycopg.connect(database, autocommit=True) as conn:
        for schema in ("a", "b", "c", "d"):
            conn.execute(f"CREATE SCHEMA {schema}; SET search_path = {schema}; {MADE}")
        conn.execute("DROP POLICY seen ON c.items; ALTER TABLE d.alone ADD COLUMN more text")
    catalog = live(database)
    sides = {one: items(catalog, [one], exact=True, plain=one) for one in ("a", "b", "c", "d")}
    found = {name: [str(each) for each in one] for name, one in unusual(sides).items()}
    assert found == {
        "c": ["policy items.seen: missing in the second"],
        "d": ["column alone.more: missing in the first"],
    }
