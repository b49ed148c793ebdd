"""RT01: an archive has the columns of what it archives.

Standard: §8.1 Automated Archiving
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import listed, owned, qualified, quoted


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        source = _source(catalog, table)
        if source is None or not source.columns:
            continue
        lacks = [name for name, column in source.columns.items() if name not in table.columns and not column.generated]
        if lacks:
            name = lacks[0]
            yield Found(
                f"lacks {listed(lacks)} of {source}",
                table.at,
                str(table),
                f"ALTER TABLE {qualified(table)} ADD COLUMN {quoted(name)} {source.columns[name].type};",
            )
        both = [(source.columns[name], table.columns[name]) for name in source.columns if name in table.columns]
        other = [f"{mine.name} {mine.type}, not {its.type}" for its, mine in both if its.type != mine.type]
        if other:
            yield Found(f"has other types than {source}: {listed(other)}", table.at, str(table))


def _source(catalog: Catalog, table: Table) -> Table | None:
    """Return the table that this one archives; an archive of its own shape keeps fewer than half of the columns."""
    if not table.name.endswith("_archive"):
        return None
    source = catalog.tables.get((table.schema, table.name.removesuffix("_archive")))
    if source is None or source is table:
        return None
    shared = table.columns.keys() & source.columns.keys()
    return source if len(shared) * 2 > len(source.columns) else None


_ORDERS = "CREATE TABLE orders (order_id uuid PRIMARY KEY, total numeric(19,4), at date);"

RULE = Rule(
    id="RT01",
    title="An archive has the columns of what it archives",
    heading="§8.1 Automated Archiving",
    level=Level.WARNING,
    why="A column that was added later is lost with the row that is moved, or INSERT … SELECT * puts it into another"
    " one.",
    remedy="Change both in one migration.",
    bad=(
        _ORDERS + "CREATE TABLE orders_archive (LIKE orders); ALTER TABLE orders ADD COLUMN note text;",
        _ORDERS + "CREATE TABLE orders_archive (order_id uuid, total numeric(10,2), at date);",
        _ORDERS + "CREATE TABLE orders_archive (LIKE orders); ALTER TABLE orders_archive DROP COLUMN total;",
    ),
    good=(
        _ORDERS + "CREATE TABLE orders_archive (LIKE orders INCLUDING ALL);",
        _ORDERS
        + "CREATE TABLE orders_archive (LIKE orders); ALTER TABLE orders_archive ADD COLUMN archived_at timestamptz;",
        _ORDERS + "CREATE TABLE orders_archive (archive_id uuid PRIMARY KEY, row_data jsonb);",
        "CREATE TABLE web_archive (url text);",
    ),
    mends=True,
    schema=_check,
)
