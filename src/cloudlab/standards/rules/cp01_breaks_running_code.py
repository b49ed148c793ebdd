"""CP01: nothing that running code uses is dropped, renamed or narrowed in one go.

Standard: §6.2 Schema Changes
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import strings
from cloudlab.standards.rule import Found, Level, Rule, Step

_RENAMES = {pb.OBJECT_TABLE: "table", pb.OBJECT_COLUMN: "column", pb.OBJECT_SCHEMA: "schema", pb.OBJECT_TYPE: "type"}
_DROPS = {pb.OBJECT_TABLE: "table", pb.OBJECT_VIEW: "view", pb.OBJECT_SCHEMA: "schema", pb.OBJECT_TYPE: "type"}


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if isinstance(node, pb.RenameStmt) and node.rename_type in _RENAMES:
        table = step.table(node.relation) if node.HasField("relation") else None
        old = node.subname or node.relation.relname or (strings(node.object.list.items) or ("",))[-1]
        if not step.is_new(table) and not (node.rename_type == pb.OBJECT_TYPE and _is_swapped(step, old)):
            yield step.found(f"code that still says {old} fails from now on", name=old)
    elif isinstance(node, pb.DropStmt) and node.remove_type in _DROPS:
        for one in node.objects:
            names = [*strings(one.list.items), *strings(one.type_name.names)] or [one.string.sval]
            table = step.catalog.find(names[-2] if len(names) > 1 else "", names[-1])
            what = _DROPS[node.remove_type]
            if step.is_new(table) or _was_new(step, names[-1]) or _is_swapped(step, names[-1]):
                continue
            if table or not node.missing_ok or what not in {"table", "view"}:
                yield step.found(f"code that still uses the {what} {names[-1]} fails from now on", name=names[-1])
    elif isinstance(node, pb.AlterTableStmt) and not step.is_new(step.table(node.relation)):
        for each in node.cmds:
            command = each.alter_table_cmd
            if command.subtype == pb.AT_DropColumn:
                yield step.found(f"code that still names {command.name} fails from now on", name=command.name)


def _is_swapped(step: Step, name: str) -> bool:
    """Whether the same file makes a type, table or view of this name, or gives its name to another."""
    for statement in step.script.statements:
        node = statement.node
        if isinstance(node, pb.CreateStmt | pb.ViewStmt):
            made = node.relation if isinstance(node, pb.CreateStmt) else node.view
            if made.relname == name:
                return True
        if isinstance(node, pb.CreateEnumStmt) and strings(node.type_name)[-1:] == (name,):
            return True
        if isinstance(node, pb.RenameStmt) and node.newname == name:
            return True
    return False


def _was_new(step: Step, name: str) -> bool:
    """Whether the file itself has made it, or has renamed what it was."""
    for earlier in step.earlier:
        node = earlier.node
        if isinstance(node, pb.RenameStmt) and node.newname == name:
            return True
    return False


RULE = Rule(
    id="CP01",
    title="Running code keeps working",
    heading="§6.2 Schema Changes",
    level=Level.WARNING,
    why="While a new version is rolled out, the old one still runs: what it uses must be there until it is gone.",
    remedy="Expand first, deploy, contract later: add the new name, keep both in step, drop the old one in a later "
    "release.",
    bad=(
        "ALTER TABLE users RENAME COLUMN name TO full_name;",
        "ALTER TABLE users RENAME TO people;",
        "ALTER TABLE users DROP COLUMN name;",
        "DROP TABLE users;",
    ),
    good=(
        "CREATE TABLE users (a integer PRIMARY KEY); ALTER TABLE users RENAME COLUMN a TO b;",
        "ALTER TABLE users ADD COLUMN full_name text;",
        "ALTER TABLE users RENAME CONSTRAINT a TO b;",
        "CREATE TEMP TABLE t (a integer); DROP TABLE t;",
        "ALTER INDEX a RENAME TO b;",
        "DROP TABLE IF EXISTS never_made;",
        "CREATE TABLE pushers (a integer);\n-- next file\nCREATE TABLE new_pushers (a integer);"
        " DROP TABLE pushers; ALTER TABLE new_pushers RENAME TO pushers;",
        "DROP VIEW v; CREATE VIEW v AS SELECT 1 AS a;",
        "CREATE TYPE mood_new AS ENUM ('a'); ALTER TABLE t ALTER COLUMN m TYPE mood_new USING m::text::mood_new;"
        " ALTER TYPE mood RENAME TO mood_old; ALTER TYPE mood_new RENAME TO mood; DROP TYPE mood_old;",
    ),
    step=_check,
    on=frozenset({"AlterTableStmt", "DropStmt", "RenameStmt"}),
)
