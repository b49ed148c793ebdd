"""Small trees of migrations, written by the tests themselves."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudlab.schema.files import Migration, load

HEADER = """\
-- Migration: {title}
-- Author: Ada
-- Date: 2026-11-22
-- Description: What a test needs
-- Standard: §6.1 Versioned Migrations

"""


class SmallTree:
    """A folder of migrations; each file is written as way up, way down."""

    def __init__(self, folder: Path, *, clickhouse: bool = False) -> None:
        self.folder = folder
        self._clickhouse = clickhouse

    def add(self, name: str, up: str, down: str, option: str = "") -> Path:
        path = self.folder / name
        header = HEADER.format(title=name[4:-4].replace("_", " "))
        path.write_text(f"{header}-- migrate:up {option}\n{up}\n\n-- migrate:down {option}\n{down}\n")
        return path

    def load(self) -> tuple[Migration, ...]:
        return load(self.folder, clickhouse=self._clickhouse)


@pytest.fixture
def small_tree(tmp_path: Path) -> Callable[..., SmallTree]:
    """Make an empty tree: `small_tree()`, or `small_tree(clickhouse=True)`."""
    return functools.partial(SmallTree, tmp_path)


@pytest.fixture
def tree(small_tree: Callable[..., SmallTree]) -> SmallTree:
    """A tree of three migrations: a table, another that refers to it, an index made concurrently."""
    tree = small_tree()
    tree.add(
        "001_people.sql",
        """\
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE people (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL DEFAULT 'nobody; really' CHECK (name <> ''),
    mood mood
);
COMMENT ON TABLE people IS 'Who is there';
COMMENT ON COLUMN people.name IS 'It''s what they are called';
CREATE FUNCTION count_people() RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    RETURN (SELECT count(*) FROM people);
END;
$$;""",
        "DROP FUNCTION count_people();\nDROP TABLE people;\nDROP TYPE mood;",
    )
    tree.add(
        "002_pets.sql",
        """\
CREATE TABLE pets (owner bigint REFERENCES people, name text);
ALTER TABLE pets ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON pets USING (name <> '');
GRANT SELECT ON pets TO cloudlab_app;""",
        "DROP TABLE pets;",
    )
    tree.add(
        "003_pets_by_name.sql",
        "CREATE INDEX CONCURRENTLY idx_pets_name ON pets (name);\nANALYZE pets;",
        "DROP INDEX CONCURRENTLY IF EXISTS idx_pets_name;",
        "transaction:false",
    )
    return tree
