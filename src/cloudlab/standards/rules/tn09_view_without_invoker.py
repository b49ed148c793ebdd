"""TN09: a view shows what its reader may see, and not what its owner may.

Standard: §9.2 Row-Level Security
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.expressions import calls, function_name
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.trees import parsed, tables

_OWN_CHECKS = ("current_setting", "tenant", "uid", "jwt", "current_user_id")


def _check(catalog: Catalog) -> Iterator[Found]:
    for view in catalog.tables.values():
        if view.kind not in {"view", "materialized view"} or view.is_opaque:
            continue
        if view.options.get("security_invoker", "false") in {"true", "on", "1", "yes"}:
            continue
        if protected := _protected(view, catalog):
            yield _found(view, protected)


def _protected(view: Table, catalog: Catalog) -> Table | None:
    """Return a table with policies that a view reads without a look at who asks."""
    tree = parsed(view.query)
    if tree is None or any(any(word in function_name(call) for word in _OWN_CHECKS) for call in calls(tree)):
        return None
    return next((table for table in tables(tree, catalog) if table.row_security), None)


def _found(view: Table, table: Table) -> Found:
    if view.kind == "materialized view":
        return Found(
            f"keeps a copy of {table}, which has row-level security: a materialised view has none",
            view.at,
            str(view),
            f"REVOKE ALL ON {view} FROM PUBLIC; and let only a view with the tenant in its WHERE read it.",
        )
    return Found(
        f"reads {table} with the rights of the view's owner, not of who asks: its policies are passed by",
        view.at,
        str(view),
        f"ALTER VIEW {view} SET (security_invoker = true);",
    )


RULE = Rule(
    id="TN09",
    title="A view shows what its reader may see",
    heading="§9.2 Row-Level Security",
    level=Level.WARNING,
    why="A view runs as its owner, who is held to other policies than the reader or to none.",
    remedy="ALTER VIEW … SET (security_invoker = true), from PostgreSQL 15 on.",
    bad=(
        "CREATE TABLE p (a integer); ALTER TABLE p ENABLE ROW LEVEL SECURITY; CREATE VIEW v AS SELECT a FROM p;",
        "CREATE TABLE p (a integer); CREATE VIEW v WITH (security_barrier) AS SELECT a FROM p;"
        " ALTER TABLE p ENABLE ROW LEVEL SECURITY;",
        "CREATE TABLE p (a integer); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE MATERIALIZED VIEW v AS SELECT a FROM p;",
    ),
    good=(
        "CREATE TABLE p (a integer); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE VIEW v WITH (security_invoker = true) AS SELECT a FROM p;",
        "CREATE TABLE p (a integer); ALTER TABLE p ENABLE ROW LEVEL SECURITY; CREATE VIEW v AS SELECT a FROM p;"
        " ALTER VIEW v SET (security_invoker = on);",
        "CREATE TABLE p (a integer); CREATE VIEW v AS SELECT a FROM p;",
        "CREATE TABLE p (user_id uuid); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
        " CREATE VIEW mine WITH (security_barrier = true) AS SELECT * FROM p WHERE user_id = (SELECT auth.uid());",
        "CREATE TABLE p (a integer); ALTER TABLE p ENABLE ROW LEVEL SECURITY; CREATE VIEW v AS"
        " WITH p AS (SELECT 1 AS a) SELECT a FROM p;",
    ),
    mends=True,
    schema=_check,
)
