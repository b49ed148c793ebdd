"""The schema that migrations make, folded from their files: ours, or those of any tool that writes SQL.

Standard: §6.1 Migration File Structure
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import postgast

from cloudlab.errors import MigrationError, NotFound
from cloudlab.schema import online_operations
from cloudlab.schema.files import ONLINE, Migration, Tree, load, load_tree
from cloudlab.schema.online_steps import Phase, fitting
from cloudlab.schema.places import SHOP_SCHEMA
from cloudlab.schema.postgres import PLATFORM_SCHEMA
from cloudlab.standards.catalog import Catalog, Place
from cloudlab.standards.folding import fold
from cloudlab.standards.scripts import Script, Statement, read_files

_LINE = re.compile(rf"--\s*{ONLINE}\s+(.+)")


def of_tree(tree: Tree) -> Catalog:
    """Return the schema of one of CloudLab's own PostgreSQL trees; that of the shards holds the tenants' own too."""
    catalog = of_migrations(load_tree(tree), SHOP_SCHEMA if tree is Tree.TENANT else PLATFORM_SCHEMA)
    return of_migrations(load_tree(Tree.TENANT), SHOP_SCHEMA, catalog) if tree is Tree.SHARD else catalog


def of_folder(folder: Path, schema: str = "public") -> Catalog:
    """Return the schema that the files of a folder make; unqualified names are made in `schema`.

    Raises:
        NotFound: There is no such folder.
    """
    if not folder.exists():
        raise NotFound(f"there is no file or folder {folder}", hint="A database is named by its postgresql:// URL.")
    try:
        return of_migrations(load(folder, gapless=False), schema)
    except MigrationError:
        catalog = Catalog(default_schema=schema)  # of another tool
        for script in read_files([folder]):
            for statement in script.statements:
                if not statement.problem:
                    fold(catalog, statement, script.number)
        return catalog


def of_migrations(files: Sequence[Migration], schema: str, catalog: Catalog | None = None) -> Catalog:
    """Fold migrations into a schema, those that are made online as what they lead to."""
    catalog = catalog or Catalog()
    catalog.default_schema = schema
    for migration in files:
        for each in migration.up.statements:
            texts = list(_plainly(catalog, each.text)) if each.words == (ONLINE,) else [each.text]
            at = Place(str(migration.path), each.line)
            for text in texts:
                for node in postgast.parse(text).stmts:
                    statement = Statement(postgast.unwrap_node(node.stmt), text, at, 0)
                    fold(catalog, statement, migration.number)
    return catalog


def fold_lines(catalog: Catalog, script: Script) -> None:
    """Fold what the lines `-- migrate:online …` of a file lead to on its way up.

    Raises:
        MigrationError: A line is none that the engine knows.
    """
    lines = script.text.split("-- migrate:down", 1)[0].splitlines()
    for number, line in enumerate(lines, 1):
        if written := _LINE.fullmatch(line):
            for text in _plainly(catalog, written[1]):
                for node in postgast.parse(text).stmts:
                    at = Place(script.path, number)
                    fold(catalog, Statement(postgast.unwrap_node(node.stmt), text, at, 0), script.number)


def _plainly(catalog: Catalog, text: str) -> Iterator[str]:
    """Yield the statements that lead where an online operation leads; none where it only moves rows."""
    operation, phase = online_operations.read(text)
    write = _PLAIN.get((operation.NAME, phase))
    if write:
        yield from write(catalog, cast("Any", operation))


def _index(catalog: Catalog, it: online_operations.AddIndex) -> Iterator[str]:
    del catalog
    include = f" INCLUDE ({', '.join(it.include)})" if it.include else ""
    where = f" WHERE {it.where}" if it.where else ""
    unique = "UNIQUE " if it.unique else ""
    keys = it.expressions or ", ".join(it.columns)
    yield f"CREATE {unique}INDEX {it.index} ON {it.table} USING {it.method} ({keys}){include}{where}"


def _foreign_key(catalog: Catalog, it: online_operations.AddForeignKey) -> Iterator[str]:
    table = catalog.find("", it.table)
    begins = (index.columns[: len(it.columns)] == it.columns for index in (table.indexes.values() if table else ()))
    if it.index and not any(begins):
        yield from _index(catalog, online_operations.AddIndex(it.table, it.columns))
    name = it.name or fitting("fk", it.table, *it.columns)
    to = f" ({', '.join(it.to)})" if it.to else ""
    yield (
        f"ALTER TABLE {it.table} ADD CONSTRAINT {name} FOREIGN KEY ({', '.join(it.columns)})"
        f" REFERENCES {it.references}{to} ON DELETE {it.on_delete}"
    )


def _column(catalog: Catalog, it: online_operations.AddColumn) -> Iterator[str]:
    del catalog
    default = f" DEFAULT {it.default}" if it.default else ""
    yield f"ALTER TABLE {it.table} ADD COLUMN {it.column} {it.type}{' NOT NULL' if it.not_null else ''}{default}"
    if it.comment:
        comment = it.comment.replace("'", "''")
        yield f"COMMENT ON COLUMN {it.table}.{it.column} IS '{comment}'"


def _unique(catalog: Catalog, it: online_operations.AddUnique) -> Iterator[str]:
    del catalog
    name = it.name or fitting("uq", it.table, *it.columns)
    yield f"ALTER TABLE {it.table} ADD CONSTRAINT {name} UNIQUE ({', '.join(it.columns)})"


def _enum(catalog: Catalog, it: online_operations.AddEnumValue) -> Iterator[str]:
    del catalog
    beside = f" BEFORE '{it.before}'" if it.before else f" AFTER '{it.after}'" if it.after else ""
    yield f"ALTER TYPE {it.type} ADD VALUE IF NOT EXISTS '{it.value}'{beside}"


def _one(template: str) -> Callable[[Catalog, Any], Iterator[str]]:
    def write(catalog: Catalog, it: object) -> Iterator[str]:
        del catalog
        yield template.format(it=it)

    return write


_PLAIN: dict[tuple[str, Phase], Callable[[Catalog, Any], Iterator[str]]] = {
    ("add_index", Phase.EXPAND): _index,
    ("drop_index", Phase.EXPAND): _one("DROP INDEX {it.index}"),
    ("add_column", Phase.EXPAND): _column,
    ("set_not_null", Phase.EXPAND): _one("ALTER TABLE {it.table} ALTER COLUMN {it.column} SET NOT NULL"),
    ("add_check", Phase.EXPAND): _one("ALTER TABLE {it.table} ADD CONSTRAINT {it.name} CHECK ({it.check})"),
    ("add_foreign_key", Phase.EXPAND): _foreign_key,
    ("add_unique", Phase.EXPAND): _unique,
    ("add_enum_value", Phase.EXPAND): _enum,
    ("change_type", Phase.EXPAND): _one("ALTER TABLE {it.table} ALTER COLUMN {it.column} TYPE {it.type}"),
    ("rename_column", Phase.CONTRACT): _one("ALTER TABLE {it.table} RENAME COLUMN {it.column} TO {it.to}"),
    ("rename_table", Phase.CONTRACT): _one("ALTER TABLE {it.table} RENAME TO {it.to}"),
    ("drop_column", Phase.CONTRACT): _one("ALTER TABLE {it.table} DROP COLUMN {it.column}"),
    ("drop_table", Phase.CONTRACT): _one("DROP TABLE {it.table}"),
}
