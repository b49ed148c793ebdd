"""FK02: ON DELETE SET NULL is for columns that may be null.

Standard: §2.3 Foreign Key Standards
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Constraint, Table
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import listed, owned, qualified, quoted


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for key in table.of_kind("f"):
            refused = _refused(table, key)
            if refused:
                action = (key.on_delete or "").upper()
                others = [name for name in key.columns if name not in refused]
                yield Found(
                    f"ON DELETE {action} on {listed(refused)}, which must not be null: every deletion fails",
                    key.at,
                    f"{table}.{key.name}",
                    f"ON DELETE SET NULL ({', '.join(map(quoted, others))}), from PostgreSQL 15 on."
                    if others
                    else f"ALTER TABLE {qualified(table)} ALTER COLUMN {quoted(refused[0])} DROP NOT NULL;"
                    " or ON DELETE RESTRICT.",
                )


def _refused(table: Table, key: Constraint) -> list[str]:
    if key.on_delete not in {"set null", "set default"}:
        return []
    columns = [table.columns[name] for name in key.on_delete_columns or key.columns if name in table.columns]
    if key.on_delete == "set default":
        columns = [column for column in columns if column.default is None]
    return [column.name for column in columns if column.not_null]


RULE = Rule(
    id="FK02",
    title="ON DELETE SET NULL can set NULL",
    heading="§2.3 Foreign Key Standards",
    level=Level.ERROR,
    why="The deletion sets the column to NULL, its NOT NULL refuses that, and the deletion fails each time.",
    remedy="Drop NOT NULL, name the columns that may be null, or use RESTRICT.",
    bad=(
        "CREATE TABLE u (u uuid PRIMARY KEY);"
        " CREATE TABLE o (o uuid PRIMARY KEY, u uuid NOT NULL REFERENCES u ON DELETE SET NULL);",
        "CREATE TABLE u (t uuid, u uuid, PRIMARY KEY (t, u)); CREATE TABLE o (t uuid NOT NULL, u uuid,"
        " FOREIGN KEY (t, u) REFERENCES u ON DELETE SET NULL);",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid PRIMARY KEY REFERENCES u ON DELETE SET NULL);",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid NOT NULL REFERENCES u ON DELETE SET DEFAULT);",
    ),
    good=(
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid REFERENCES u ON DELETE SET NULL);",
        "CREATE TABLE u (t uuid, u uuid, PRIMARY KEY (t, u)); CREATE TABLE o (t uuid NOT NULL, u uuid,"
        " FOREIGN KEY (t, u) REFERENCES u ON DELETE SET NULL (u));",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid NOT NULL REFERENCES u ON DELETE CASCADE);",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid NOT NULL REFERENCES u ON DELETE SET NULL);"
        " ALTER TABLE o ALTER COLUMN u DROP NOT NULL;",
    ),
    schema=_check,
)
