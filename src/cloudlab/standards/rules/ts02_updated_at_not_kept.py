"""TS02: updated_at is kept by the database.

Standard: §2.2 Column Constraints
"""

from collections import defaultdict
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import is_record, owned, qualified

_MANY = 2


def _check(catalog: Catalog) -> Iterator[Found]:
    """Report a table that lacks the trigger which others of its schema have."""
    schemas: defaultdict[str, list[Table]] = defaultdict(list)
    for table in owned(catalog):
        if "updated_at" in table.columns and not is_record(table):
            schemas[table.schema].append(table)
    for tables in schemas.values():
        keepers = [(table, name) for table in tables if (name := _keeper(catalog, table))]
        if len(keepers) < _MANY or len(keepers) * 2 < len(tables):
            continue
        kept = {table.key for table, _ in keepers}
        for table in tables:
            if table.key not in kept and not table.is_opaque:
                yield Found(
                    f"nothing keeps updated_at, as {keepers[0][1]} does in {len(keepers)} other tables",
                    table.at,
                    str(table),
                    f"CREATE TRIGGER trg_{table.name}_updated_at BEFORE UPDATE ON {qualified(table)} FOR EACH ROW"
                    " EXECUTE"
                    f" FUNCTION {keepers[0][1]}();",
                )


def _keeper(catalog: Catalog, table: Table) -> str:
    """Return the function of a trigger that sets updated_at."""
    for trigger in table.triggers.values():
        name = trigger.function.rpartition(".")[2]
        bodies = (function.body.lower() for (_, what, _), function in catalog.functions.items() if what == name)
        if trigger.when == "before" and "update" in trigger.events and any("updated_at" in body for body in bodies):
            return trigger.function
    return ""


_TOUCH = (
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at := now(); RETURN NEW; END';"
    " CREATE TABLE a (updated_at timestamptz); CREATE TABLE b (updated_at timestamptz);"
    " CREATE TRIGGER t BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION touch();"
    " CREATE TRIGGER t BEFORE UPDATE ON b FOR EACH ROW EXECUTE FUNCTION touch();"
)

RULE = Rule(
    id="TS02",
    title="updated_at is kept by the database",
    heading="§2.2 Column Constraints",
    level=Level.WARNING,
    why="Where the other tables have a trigger, nobody sets updated_at in code: here it stays what it was at INSERT.",
    remedy="Give the table the trigger that the others have.",
    bad=(
        _TOUCH + "CREATE TABLE c (updated_at timestamptz);",
        _TOUCH + "CREATE TABLE c (updated_at timestamptz);"
        " CREATE TRIGGER t AFTER UPDATE ON c FOR EACH ROW EXECUTE FUNCTION touch();",
        _TOUCH + "CREATE TABLE c (updated_at timestamptz);"
        " CREATE TRIGGER t BEFORE INSERT ON c FOR EACH ROW EXECUTE FUNCTION touch();",
    ),
    good=(
        _TOUCH + "CREATE TABLE c (created_at timestamptz);",
        _TOUCH + "CREATE TABLE orders_archive (updated_at timestamptz);",
        "CREATE TABLE a (updated_at timestamptz); CREATE TABLE b (updated_at timestamptz);",
    ),
    mends=True,
    schema=_check,
)
