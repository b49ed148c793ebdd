"""Which tables the rules about a schema are about, and how their names are written in a remedy.

Standard: §11.2 Implementation Guidelines
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from cloudlab.standards.catalog import Catalog, Column, Constraint, Table
from cloudlab.standards.words import RESERVED

# Made by migration tools and extensions, which nobody names, types or comments by hand.
_TOOLS = frozenset(
    {
        "schema_migrations", "schema_version", "schema_info", "schema_lock", "ar_internal_metadata", "alembic_version",
        "flyway_schema_history", "goose_db_version", "gorp_migrations", "gopg_migrations", "django_migrations",
        "django_content_type", "django_session", "django_admin_log", "knex_migrations", "knex_migrations_lock",
        "migrations", "typeorm_metadata", "databasechangelog", "databasechangeloglock", "_prisma_migrations",
        "__diesel_schema_migrations", "__drizzle_migrations", "__efmigrationshistory", "_sqlx_migrations",
        "atlas_schema_revisions", "spatial_ref_sys", "sequelizemeta", "active_storage_blobs",
        "active_storage_attachments",
        "active_storage_variant_records", "action_text_rich_texts", "oban_jobs", "que_jobs",
        "db_migrations", "db_lock", "online_operations", "migration", "refinery_schema_history", "delayed_jobs",
    }
)  # fmt: skip
# What an online operation writes a table anew into, and the old one until it is contracted.
_COPIES = re.compile(r"online_\w+_(old|new)")
_RECORDS = re.compile(r"(^|_)(events?|logs?|history|histories|archive|archived|audits?|outbox|versions?|snapshots?)$")


def owned(catalog: Catalog) -> Sequence[Table]:
    """Return the tables that the application made for keeps: no partitions, temporary ones, or those of tools."""
    return _owned_live(catalog) if catalog.is_live else _owned(catalog)


def _owned(catalog: Catalog) -> Sequence[Table]:
    return [
        table
        for table in catalog.real_tables()
        if table.columns
        and not table.is_temporary
        and table.name.lower() not in _TOOLS
        and not _COPIES.fullmatch(table.schema)
    ]


@lru_cache(maxsize=1)
def _owned_live(catalog: Catalog) -> Sequence[Table]:
    """Return the same for a schema that was read once and changes no more; fifty rules ask for it."""
    return _owned(catalog)


def is_record(table: Table) -> bool:
    """Whether its rows are a record of what was, which is only appended to: events, logs, history, archives."""
    return bool(_RECORDS.search(table.name)) or table.schema in {"archive", "audit", "history"}


def quoted(name: str) -> str:
    """Write a name as it must stand in SQL."""
    if re.fullmatch(r"[a-z_][a-z0-9_$]*", name) and name not in RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def qualified(table: Table) -> str:
    """Write the name of a table as it must stand in SQL."""
    name = quoted(table.name)
    return name if table.schema in {"", "public"} else f"{quoted(table.schema)}.{name}"


def listed(names: list[str]) -> str:
    """Write a few names in a sentence, and how many more there are."""
    few = 5
    more = f" and {len(names) - few} more" if len(names) > few else ""
    return ", ".join(names[:few]) + more


def is_text(column: Column) -> bool:
    """Whether it holds text of any length."""
    return column.type.startswith(("character varying", "text", "character(")) and not column.type.endswith("[]")


def is_from_sequence(column: Column) -> bool:
    """Whether a sequence numbers it."""
    return column.identity or bool(column.default and "nextval(" in column.default.text)


def checks_of(table: Table, column: str) -> Iterator[Constraint]:
    """Yield the checks that name a column."""
    return (one for one in table.of_kind("c") if column in one.columns)


def foreign_columns(table: Table) -> set[str]:
    """Return the columns that refer to other tables."""
    return {name for one in table.of_kind("f") for name in one.columns}
