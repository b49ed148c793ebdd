"""What each statement of a migration would do to the tables that are there: its lock, its work, how long, how else.

The locks and rewrites are the facts that were observed on servers; the rules are those of `cloudlab check`, asked only
about tables that hold rows. Durations are estimates from the size of the table, good for the order of magnitude.

Standard: §6.2 Zero-Downtime Migrations
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import postgast
from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.schema.files import ONLINE, Migration, Section
from cloudlab.standards import instead, suppressing
from cloudlab.standards.catalog import Catalog, Place, Table
from cloudlab.standards.facts import Fact, changes, fact
from cloudlab.standards.folding import fold
from cloudlab.standards.rule import Earlier, Finding, Level, Rule, Step
from cloudlab.standards.rules import (
    bf01_every_row_in_one_transaction,
    cp03_not_null_without_default,
    lk05_index_blocks_writes,
    lk08_constraint_scans_under_lock,
    lk09_validated_in_the_same_transaction,
    lk10_set_not_null_scans,
    lk11_column_rewrites_table,
    lk12_type_change_rewrites,
    lk13_unique_builds_index,
    lk14_attach_scans,
)
from cloudlab.standards.scripts import Script, Statement
from cloudlab.standards.suppressing import Suppression
from cloudlab.standards.trees import relations, tables

_MODULES = (
    bf01_every_row_in_one_transaction,
    cp03_not_null_without_default,
    lk05_index_blocks_writes,
    lk08_constraint_scans_under_lock,
    lk09_validated_in_the_same_transaction,
    lk10_set_not_null_scans,
    lk11_column_rewrites_table,
    lk12_type_change_rewrites,
    lk13_unique_builds_index,
    lk14_attach_scans,
)
RULES: tuple[Rule, ...] = tuple(module.RULE for module in _MODULES)
# All files that are about to run have one number: what one of them makes is in nobody's use in the next.
_RUN = 1
_ONLINE = "-- migrate:online "
_MEGABYTE = 1e6
# Of one process on a small machine with the table in memory, in MB a second; a disk is slower.
_READ, _INDEXED, _REWRITTEN, _UPDATED = 400 * _MEGABYTE, 60 * _MEGABYTE, 60 * _MEGABYTE, 12 * _MEGABYTE
_ROWS_WRITTEN = {"UpdateStmt", "DeleteStmt", "InsertStmt", "MergeStmt"}


@dataclass(frozen=True, slots=True)
class Touched:
    """A table that is there and what a statement does to it; `seconds` is the estimate for the largest of its kind.

    Attributes:
        table: Its name.
        lock: As LOCK TABLE spells it.
        work: `rewritten`, `read`, `indexed`, `updated`, or nothing.
        size_bytes: Of the table without its indexes; in many schemas, of the largest.
        seconds: How long the work takes; 0 where there is none.
        waiting: Who waits for all that time.
    """

    table: str
    lock: str
    work: str = ""
    size_bytes: int = 0
    seconds: float = 0.0
    waiting: str = ""

    def __str__(self) -> str:
        parts = [f"{self.lock} on {self.table} ({size(self.size_bytes)})"]
        if self.work:
            parts.append(f"{self.work}, about {duration(self.seconds)}")
        else:
            parts.append("a moment")
        return ", ".join([*parts, f"{self.waiting} waits"] if self.waiting and self.work else parts)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One statement that would run, what it touches, why it is refused, and the lines that do it without danger.

    `excused` are rules and reasons of dangers that the file itself says are known; `steps` those of an online
    operation, each with its lock.
    """

    migration: Migration
    line: int
    sql: str
    touched: tuple[Touched, ...] = ()
    dangers: tuple[Finding, ...] = ()
    instead: tuple[str, ...] = ()
    excused: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    @property
    def online(self) -> str:
        """The text of an online operation; empty for SQL."""
        return self.sql.removeprefix(_ONLINE) if self.sql.startswith(_ONLINE) else ""

    @property
    def what(self) -> str:
        """The locks and the work, in words."""
        if self.online:
            return "online: its locks are held for moments, in steps; `cloudlab online run … --dry-run` shows them"
        return "; ".join(map(str, self.touched)) or "nothing that others wait for"


def size(size_bytes: float) -> str:
    """Write a number of bytes for people."""
    if not size_bytes:
        return "empty"
    return f"{size_bytes / _MEGABYTE:.1f} MB" if size_bytes < 1e9 else f"{size_bytes / 1e9:.1f} GB"


def duration(seconds: float) -> str:
    """Write an estimate for people, as exact as it is."""
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))} ms"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def judge(
    plan: Sequence[tuple[Migration, Section]], catalog: Catalog, sizes: Mapping[str, int], brief_seconds: float = 0.0
) -> list[Verdict]:
    """Judge what would run, statement by statement, each against the schema that it meets.

    Args:
        plan: Files and the section of each that would run, in their order.
        catalog: The schema as it is now, its default schema set; it is what the files make of it afterwards.
        sizes: Bytes of tables of the default schema by name; where many schemas get the same files, of the largest.
        brief_seconds: What is estimated to be over sooner is not dangerous.
    """
    return list(_Judge(catalog, sizes, brief_seconds).all(plan))


def touched(catalog: Catalog) -> Callable[[Step], Sequence[Touched]]:
    """Return what tells of a statement which tables it touches, how, and for how long by their size in the catalog."""
    judge_ = _Judge(catalog, {}, 0.0)
    return lambda step: tuple(judge_.touched(step)) if step.statement.node else ()


def excused(verdicts: Sequence[Verdict], today: date) -> list[Verdict]:
    """Leave out the dangers that a comment in their file excuses with a reason, as `cloudlab check` does."""
    scripts = {one.migration.path: Script(str(one.migration.path), _text(one.migration)) for one in verdicts}
    said = {path: list(suppressing.valid(script, today)) for path, script in scripts.items()}
    return [_excused(one, said[one.migration.path]) if one.dangers else one for one in verdicts]


def _text(migration: Migration) -> str:
    return migration.path.read_text(encoding="utf-8-sig") if migration.path.exists() else ""


def _excused(verdict: Verdict, said: Sequence[Suppression]) -> Verdict:
    left: list[Finding] = []
    reasons: list[str] = []
    for danger in verdict.dangers:
        why = next((one.reason for one in said if one.hides(danger)), None)
        if why is None:
            left.append(danger)
        else:
            reasons.append(f"{danger.rule.id}: {why}")
    return replace(verdict, dangers=tuple(left), excused=tuple(reasons))


class _Judge:
    def __init__(self, catalog: Catalog, sizes: Mapping[str, int], brief_seconds: float) -> None:
        self._catalog, self._sizes = catalog, sizes
        self._idle = [
            table for table in catalog.tables.values()
            if not (bytes_ := self._bytes(table)) or bytes_ / _UPDATED < brief_seconds
        ]  # fmt: skip

    def all(self, plan: Sequence[tuple[Migration, Section]]) -> Iterator[Verdict]:
        for migration, section in plan:
            script = Script(str(migration.path), section.sql, _RUN)
            earlier = Earlier()
            for each in section.statements:
                if each.words == (ONLINE,):
                    yield Verdict(migration, each.line, f"{_ONLINE}{each.text}")
                    continue
                at = Place(str(migration.path), each.line)
                for node in _nodes(each.text):
                    statement = Statement(node, each.text, at, 0, _RUN if section.transaction else None)
                    yield self._one(migration, Step(self._catalog, statement, script, earlier))
                    fold(self._catalog, statement, _RUN)
                    earlier.append(statement)

    def _one(self, migration: Migration, step: Step) -> Verdict:
        statement = step.statement
        touched = tuple(self.touched(step)) if statement.node else ()
        dangers = tuple(self._dangers(step)) if statement.node else ()
        lines = tuple(instead.lines(step)) if dangers else ()
        return Verdict(migration, statement.at.line, statement.text, touched, dangers, lines)

    def _dangers(self, step: Step) -> Iterator[Finding]:
        """Ask the rules, as if a table that nobody waits for were new."""
        idle = {id(table) for table in self._idle}
        assert step.statement.node
        known = tables(step.statement.node, self._catalog)
        if all(table.born is not None or id(table) in idle for table in known):
            return
        for table in self._idle:
            table.born = _RUN
        try:
            for rule in RULES:
                assert rule.step
                for found in rule.step(step):
                    yield Finding(rule, found, Level.ERROR)
        finally:
            for table in self._idle:
                table.born = None

    def touched(self, step: Step) -> Iterator[Touched]:
        """Yield the tables that were there before, with what happens to each."""
        found = list(changes(step))
        for change in found:
            yield self._change(step, change.table, change.fact)
        node = step.statement.node
        if not found and isinstance(node, pb.IndexStmt | pb.UpdateStmt | pb.DeleteStmt | pb.InsertStmt | pb.MergeStmt):
            table = step.table(node.relation)
            if table and not step.is_new(table):
                yield self._rows(step, table)
        elif not found and isinstance(node, pb.CommentStmt):
            for table in tables(node, self._catalog):
                yield Touched(str(table), _spelt(fact("comment").lock), size_bytes=self._bytes(table))

    def _change(self, step: Step, name: str, it: Fact) -> Touched:
        table = step.catalog.find("", name)
        bytes_ = self._bytes(table) if table else 0
        work, rate = "", _READ
        if it.rewrites:
            work, rate = "rewritten", _REWRITTEN
        elif it.scans and ("index" in it.form or it.form in {"add unique", "add primary key", "add exclusion"}):
            work, rate = "indexed", _INDEXED
        elif it.scans or it.form.startswith("validate"):
            work = "read"
        waiting = "everybody" if it.blocks_reads else "every writer" if it.blocks_writes else ""
        return Touched(str(table or name), _spelt(it.lock), work, bytes_, bytes_ / rate if work else 0.0, waiting)

    def _rows(self, step: Step, table: Table) -> Touched:
        bytes_ = self._bytes(table)
        if step.statement.kind == "IndexStmt":
            return Touched(str(table), "SHARE UPDATE EXCLUSIVE", "indexed", bytes_, 2 * bytes_ / _INDEXED)
        if step.statement.kind == "InsertStmt":
            return Touched(str(table), "ROW EXCLUSIVE", "", bytes_)
        every = not getattr(step.statement.node, "where_clause", None)
        work = "all rows written" if every else "read, rows that fit written"
        seconds = bytes_ / (_UPDATED if every else _READ)
        return Touched(str(table), "ROW EXCLUSIVE", work, bytes_, seconds, "who writes the same rows")

    def _bytes(self, table: Table) -> int:
        if not table.is_table and table.kind != "materialized view":
            return 0
        if table.schema == self._catalog.default_schema and table.name in self._sizes:
            return self._sizes[table.name]
        return table.size_bytes or 0


def schemas(text: str) -> set[str]:
    """Return the schemas that a statement names; none where only the server will understand it."""
    return {one.schemaname for node in _nodes(text) if node for one in relations(node) if one.schemaname}


def _nodes(text: str) -> Iterator[Message | None]:
    """Yield the node of a statement, or None where only the server will understand it."""
    try:
        tree = postgast.parse(text)
    except postgast.PgQueryError:
        yield None
        return
    for one in tree.stmts:
        yield postgast.unwrap_node(one.stmt)


def _spelt(lock: str) -> str:
    """`AccessExclusiveLock` as SQL has it."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", lock.removesuffix("Lock")).upper()
