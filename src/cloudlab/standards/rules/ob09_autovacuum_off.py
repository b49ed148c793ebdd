"""OB09: autovacuum is on.

Standard: §11.3 Operational Excellence
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule, Server


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.tables.values():
        if table.options.get("autovacuum_enabled") in {"false", "off", "0", "no"} and not table.is_temporary:
            yield Found(
                "is never vacuumed nor analysed by itself",
                table.at,
                str(table),
                f"ALTER TABLE {table} RESET (autovacuum_enabled);",
            )


def _check_server(server: Server) -> Iterator[Found]:
    for name in ("autovacuum", "track_counts"):
        if server.settings.get(name) == "off":
            yield Found(f"{name} is off: no table is vacuumed or analysed", name=name,
                        remedy=f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();")  # fmt: skip


RULE = Rule(
    id="OB09",
    title="Autovacuum is on",
    heading="§11.3 Operational Excellence",
    level=Level.WARNING,
    why="Dead rows stay, tables and indexes grow, plans are made from statistics of long ago, and at the end"
    " the server "
    "vacuums in spite of the setting, when it suits nobody.",
    remedy="Turn it on; give a table that needs it settings of its own, such as autovacuum_vacuum_scale_factor.",
    bad=(
        "CREATE TABLE t (a integer PRIMARY KEY) WITH (autovacuum_enabled = false);",
        "CREATE TABLE t (a integer PRIMARY KEY); ALTER TABLE t SET (autovacuum_enabled = off);",
        "CREATE TABLE t (a integer PRIMARY KEY) WITH (fillfactor = 50, autovacuum_enabled = 'off');",
    ),
    good=(
        "CREATE TABLE t (a integer PRIMARY KEY) WITH (autovacuum_vacuum_scale_factor = 0.01);",
        "CREATE TABLE t (a integer PRIMARY KEY) WITH (autovacuum_enabled = false);"
        " ALTER TABLE t RESET (autovacuum_enabled);",
        "CREATE TABLE t (a integer PRIMARY KEY) WITH (autovacuum_enabled = true, fillfactor = 50);",
    ),
    mends=True,
    schema=_check,
    server=_check_server,
)
