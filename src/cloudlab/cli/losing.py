"""What is lost when migrations are taken back: tables and columns that hold rows, and rows that are deleted.

Standard: §6.1 Versioned Migrations
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import postgast
from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.schema import online_operations
from cloudlab.schema.files import ONLINE, Migration, Section
from cloudlab.schema.online_columns import AddColumn, DropColumn
from cloudlab.schema.online_steps import Phase
from cloudlab.schema.online_tables import DropTable
from cloudlab.schema.statements import Statement
from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.safety import size


@dataclass(frozen=True, slots=True)
class Loss:
    """What a statement destroys, in words, and where the statement stands."""

    migration: Migration
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.migration.path}:{self.line}: {self.what}"


def losses(plan: Sequence[tuple[Migration, Section]], catalog: Catalog, sizes: Mapping[str, int]) -> list[Loss]:
    """Return what the ways down of a plan destroy of the tables that hold rows now; its ways up are passed over.

    Args:
        plan: Files, and the section of each that would run.
        catalog: The schema as it is now.
        sizes: Bytes of the tables of its default schema by name; of many schemas, of the largest.
    """
    known = _Known(catalog, sizes)
    return [
        Loss(migration, each.line, what)
        for migration, section in plan
        if section is migration.down
        for each in section.statements
        for what in dict.fromkeys(_lost(each, known))
    ]


@dataclass(frozen=True, slots=True)
class _Known:
    """Tables as they are now; one without rows has nothing to lose."""

    catalog: Catalog
    sizes: Mapping[str, int]

    def bytes_of(self, table: Table) -> int:
        if not table.is_table and table.kind != "materialized view":
            return 0
        if table.schema == self.catalog.default_schema and table.name in self.sizes:
            return self.sizes[table.name]
        return table.size_bytes or 0

    def filled(self, schema: str, name: str) -> Iterator[tuple[Table, str]]:
        """Yield the table of a name with its size in words, if it holds rows."""
        table = self.catalog.find(schema, name)
        if table and (bytes_ := self.bytes_of(table)):
            yield table, size(bytes_)

    def whole(self, schema: str, name: str) -> Iterator[str]:
        for table, how_much in self.filled(schema, name):
            yield f"the {table.kind if table.kind == 'materialized view' else 'table'} {table} ({how_much})"

    def column(self, schema: str, name: str, column: str) -> Iterator[str]:
        for table, how_much in self.filled(schema, name):
            if column in table.columns:
                yield f"the column {column} of {table} ({how_much})"

    def within(self, schema: str) -> Iterator[str]:
        for own, name in self.catalog.tables:
            if own == schema:
                yield from self.whole(own, name)


def _lost(statement: Statement, known: _Known) -> Iterator[str]:
    if statement.words == (ONLINE,):
        yield from _online(statement.text, known)
        return
    try:
        tree = postgast.parse(statement.text)
    except postgast.PgQueryError:
        return
    for one in tree.stmts:
        yield from _of(postgast.unwrap_node(one.stmt), known)


def _online(text: str, known: _Known) -> Iterator[str]:
    operation, phase = online_operations.read(text)
    here = known.catalog.default_schema
    drops = DropColumn if phase is Phase.CONTRACT else AddColumn if phase is Phase.ROLLBACK else ()
    if isinstance(operation, DropTable) and phase is Phase.CONTRACT:
        yield from known.whole(here, operation.table)
    elif isinstance(operation, drops):
        yield from known.column(here, operation.table, operation.column)


def _of(node: Message, known: _Known) -> Iterator[str]:
    if isinstance(node, pb.DropStmt):
        yield from _dropped(node, known)
    elif isinstance(node, pb.AlterTableStmt):
        for one in map(postgast.unwrap_node, node.cmds):
            if isinstance(one, pb.AlterTableCmd) and one.subtype == pb.AT_DropColumn:
                yield from known.column(node.relation.schemaname, node.relation.relname, one.name)
    elif isinstance(node, pb.TruncateStmt):
        for one in map(postgast.unwrap_node, node.relations):
            if isinstance(one, pb.RangeVar):
                yield from (f"every row of {lost}" for lost in known.whole(one.schemaname, one.relname))
    elif isinstance(node, pb.DeleteStmt):
        relation = node.relation
        rows = "the rows that fit" if node.HasField("where_clause") else "every row"
        yield from (f"{rows} of {lost}" for lost in known.whole(relation.schemaname, relation.relname))


def _dropped(node: pb.DropStmt, known: _Known) -> Iterator[str]:
    for one in map(postgast.unwrap_node, node.objects):
        if node.remove_type in {pb.OBJECT_TABLE, pb.OBJECT_MATVIEW} and isinstance(one, pb.List):
            parts = [part.sval for part in map(postgast.unwrap_node, one.items) if isinstance(part, pb.String)]
            yield from known.whole(parts[-2] if len(parts) > 1 else "", parts[-1])
        elif node.remove_type == pb.OBJECT_SCHEMA and isinstance(one, pb.String):
            yield from known.within(one.sval)
