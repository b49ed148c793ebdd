"""FK01: a foreign key says what happens on deletion.

Standard: §2.3 Foreign Key Standards
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for key in table.of_kind("f"):
            if key.on_delete is None:
                to = key.referenced[1] if key.referenced else "?"
                yield Found(
                    f"{', '.join(key.columns)} refers to {to} without ON DELETE",
                    key.at,
                    f"{table}.{key.name}",
                    "RESTRICT for what must not vanish, CASCADE for dependent data, SET NULL for an optional link.",
                )


RULE = Rule(
    id="FK01",
    title="A foreign key says what happens on deletion",
    heading="§2.3 Foreign Key Standards",
    level=Level.WARNING,
    why="NO ACTION is what nobody decided: the deletion fails in production, or at COMMIT when the key is deferred, and"
    " the next reader cannot tell whether it was meant.",
    remedy="ON DELETE RESTRICT, CASCADE or SET NULL.",
    bad=(
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (o uuid PRIMARY KEY, u uuid REFERENCES u);",
        "CREATE TABLE u (u uuid PRIMARY KEY);"
        " CREATE TABLE o (u uuid, CONSTRAINT fk_o_u FOREIGN KEY (u) REFERENCES u (u) ON UPDATE CASCADE);",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid);"
        " ALTER TABLE o ADD CONSTRAINT fk_o_u FOREIGN KEY (u) REFERENCES u (u) NOT VALID;",
    ),
    good=(
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid REFERENCES u ON DELETE RESTRICT);",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid REFERENCES u ON DELETE CASCADE);",
        "CREATE TABLE u (u uuid PRIMARY KEY); CREATE TABLE o (u uuid REFERENCES u ON DELETE SET NULL);",
    ),
    schema=_check,
)
