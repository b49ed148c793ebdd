"""FK04: the columns of a foreign key are indexed.

Standard: §5.1 Primary Indexes
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Constraint, Table
from cloudlab.standards.covering import covers, is_whole
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, qualified, quoted

_WHOSE = frozenset({"tenant_id"})


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for key in table.of_kind("f"):
            if key.columns and not _is_indexed(table, key):
                to = key.referenced[1] if key.referenced else "?"
                columns = ", ".join(map(quoted, key.columns))
                name = quoted(f"idx_{table.name}_{'_'.join(key.columns)}"[:63])
                yield Found(
                    f"no index on {', '.join(key.columns)}: deleting or re-keying one of {to} reads all of {table}",
                    key.at,
                    f"{table}.{key.name}",
                    f"CREATE INDEX CONCURRENTLY {name} ON {qualified(table)} ({columns});",
                )


def _is_indexed(table: Table, key: Constraint) -> bool:
    names = set(key.columns)
    for index in table.indexes.values():
        if covers(index, key.columns):
            return True
        leading = set[str]()
        for column in index.columns:
            if column not in names:
                break
            leading.add(column)
        finds_few = bool(leading - _WHOSE) and len(key.columns) > 1
        if finds_few and index.valid and index.method == "btree" and is_whole(index, key.columns):
            return True
    return False


RULE = Rule(
    id="FK04",
    title="The columns of a foreign key are indexed",
    heading="§5.1 Primary Indexes",
    level=Level.WARNING,
    why="Each deleted row of the other table, and each change of its key, looks for rows that refer to it: without an"
    " index it reads this whole table, holding locks.",
    remedy="CREATE INDEX CONCURRENTLY on those columns.",
    bad=(
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (o uuid PRIMARY KEY, u uuid REFERENCES u);",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (o uuid, u uuid REFERENCES u, PRIMARY KEY (o, u));",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid REFERENCES u, is_open boolean);"
        " CREATE INDEX idx_o_u ON o (u) WHERE is_open;",
        "CREATE TABLE u (t uuid, u uuid, PRIMARY KEY (t, u)); CREATE TABLE o (tenant_id uuid, u uuid, at date,"
        " FOREIGN KEY (tenant_id, u) REFERENCES u); CREATE INDEX idx_o_at ON o (tenant_id, at);",
    ),
    good=(
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid REFERENCES u); CREATE INDEX idx_o_u ON o (u);",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (o uuid, u uuid REFERENCES u, PRIMARY KEY (u, o));",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid REFERENCES u);"
        " CREATE INDEX idx_o_u ON o (u) WHERE u IS NOT NULL;",
        "CREATE TABLE u (a uuid, b uuid, PRIMARY KEY (a, b)); CREATE TABLE o (a uuid, b uuid, c date,"
        " FOREIGN KEY (a, b) REFERENCES u); CREATE INDEX idx_o_b_a_c ON o (b, a, c);",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid UNIQUE REFERENCES u);",
    ),
    mends=True,
    schema=_check,
)
