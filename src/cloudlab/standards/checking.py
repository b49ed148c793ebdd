"""Judging a schema, migrations and queries by the rules; the same rules whatever the schema was read from.

Standard: §11 Best Practices
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from cloudlab.standards import sharing
from cloudlab.standards.catalog import NOWHERE, Catalog, Place
from cloudlab.standards.folding import fold
from cloudlab.standards.poolers import Pooler
from cloudlab.standards.rule import (
    Answer,
    Deployment,
    Earlier,
    Finding,
    Fleet,
    Found,
    Level,
    OfStep,
    Query,
    Rule,
    Server,
    Step,
)
from cloudlab.standards.rules import every
from cloudlab.standards.scripts import Script, Statement

QUERIES = frozenset({"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"})

# What PostgreSQL has no word for: MySQL and MariaDB, ClickHouse, SQLite, SQL Server, Oracle.
_OTHERS = re.compile(
    r"`\w+`|\bENGINE\s*=|\bAUTO_?INCREMENT\b|^\s*DELIMITER\b|\bMergeTree\b|\bLowCardinality\(|^\s*PRAGMA\b|\bNVARCHAR\b|"
    r"\bVARCHAR2\b|^\s*GO\s*$|\bIDENTITY\s*\(\d|\bLOCK TABLES\b|\[dbo\]",
    re.IGNORECASE | re.MULTILINE,
)

# 12_backfill.sql, V3__backfill.sql, 2024-01-31-backfill/up.sql
_NUMBERED = re.compile(r"(^|/)[VR]?\d+[^/]*(/[^/]*)?\.sql$")

_SERVER = Place("server")

SYNTAX = Rule(
    id="SX01",
    title="SQL is understood",
    heading="§6.1 Migration File Structure",
    level=Level.ERROR,
    why="What PostgreSQL's own parser refuses fails on the server too.",
    remedy="Mend the statement, or leave files of other databases out.",
)


FOREIGN = Rule(
    id="SX02",
    title="A file is for PostgreSQL",
    heading="§6.1 Migration File Structure",
    level=Level.NOTE,
    why="What is written for another database cannot be judged by what PostgreSQL does.",
    remedy="Leave it out of the targets.",
)


def of_schema(catalog: Catalog, rules: Sequence[Rule] | None = None) -> Iterator[Finding]:
    """Judge a schema, from a server or folded."""
    chosen = rules or every()
    if catalog.twins:
        yield from (Finding(rule, found, rule.level) for rule, found in sharing.judged(catalog, chosen))
        return
    for rule in chosen:
        if rule.schema:
            yield from _all(rule, rule.schema(catalog))


def of_migrations(
    scripts: Iterable[Script], catalog: Catalog, rules: Sequence[Rule] | None = None
) -> Iterator[Finding]:
    """Judge each statement against the schema it meets, then fold it into the model.

    Args:
        scripts: In the order in which they are applied.
        catalog: What was there before all of them; it is what they make of it afterwards.
        rules: By default all.
    """
    chosen = _by_kind(rules or every())
    for script in scripts:
        if is_foreign(script):
            yield _foreign(script)
            continue
        earlier = Earlier()
        for statement in script.statements:
            if statement.problem:
                yield Finding(SYNTAX, Found(statement.problem, statement.at), Level.ERROR)
                continue
            step = Step(catalog, statement, script, earlier)
            for rule, judge in chosen(statement.kind):
                for found in judge(step):
                    yield Finding(rule, found, rule.level)
            fold(catalog, statement, script.number)
            earlier.append(statement)
        _fold_online(catalog, script)


def _fold_online(catalog: Catalog, script: Script) -> None:
    """Fold what the lines of a file that are done online lead to."""
    if "-- migrate:online " in script.text:
        from cloudlab.standards import folders  # noqa: PLC0415  few files have such lines, and the engine loads long

        folders.fold_lines(catalog, script)


def _by_kind(rules: Sequence[Rule]) -> Callable[[str], Sequence[tuple[Rule, OfStep]]]:
    """Return which rules judge statements of a kind."""
    every_step = [(rule, rule.step) for rule in rules if rule.step]

    @cache
    def chosen(kind: str) -> Sequence[tuple[Rule, OfStep]]:
        return [(rule, judge) for rule, judge in every_step if not rule.on or kind in rule.on]

    return chosen


def of_queries(
    statements: Iterable[Statement],
    catalog: Catalog,
    rules: Sequence[Rule] | None = None,
    answers: Mapping[int, Answer] | None = None,
) -> Iterator[Finding]:
    """Judge what an application sends; `answers` are those of its server, by the id() of a statement."""
    chosen = [rule for rule in rules or every() if rule.query]
    for statement in statements:
        if statement.problem:
            if not statement.is_guess:
                yield Finding(SYNTAX, Found(statement.problem, statement.at), Level.ERROR)
        elif statement.kind in QUERIES:
            query = Query(statement, catalog, (answers or {}).get(id(statement)))
            for rule in chosen:
                assert rule.query
                yield from _all(rule, rule.query(query))


def of_server(server: Server, rules: Sequence[Rule] | None = None) -> Iterator[Finding]:
    """Judge a server's settings, roles and state; what is of no table is found at `server`."""
    for rule in rules or every():
        for found in rule.server(server) if rule.server else ():
            yield Finding(rule, replace(found, at=_SERVER) if found.at == NOWHERE else found, rule.level)


def of_order(scripts: Sequence[Script], rules: Sequence[Rule] | None = None) -> Iterator[Finding]:
    """Judge migrations beside each other: their names and versions."""
    for rule in rules or every():
        if rule.files:
            yield from _all(rule, rule.files(scripts))


def of_deployments(deployments: Iterable[Deployment], rules: Sequence[Rule] | None = None) -> Iterator[Finding]:
    """Judge migrations beside the database that they are for."""
    for deployment in deployments:
        for rule in rules or every():
            if rule.deployed:
                yield from _all(rule, rule.deployed(deployment))


def of_fleet(fleet: Fleet, rules: Sequence[Rule] | None = None) -> Iterator[Finding]:
    """Judge the databases of an installation beside each other; what is of no table is found at `server`."""
    for rule in rules or every():
        for found in rule.fleet(fleet) if rule.fleet else ():
            yield Finding(rule, replace(found, at=_SERVER), rule.level)


def of_pooler(pooler: Pooler, rules: Sequence[Rule] | None = None) -> Iterator[Finding]:
    """Judge a configuration of PgBouncer."""
    for rule in rules or every():
        if rule.pooler:
            yield from _all(rule, rule.pooler(pooler))


def _all(rule: Rule, found: Iterable[Found]) -> Iterator[Finding]:
    return (Finding(rule, one, rule.level) for one in found)


def of_files(
    scripts: Sequence[Script],
    catalog: Catalog | None = None,
    rules: Sequence[Rule] | None = None,
    answers: Mapping[int, Answer] | None = None,
) -> Iterator[Finding]:
    """Judge files: migrations one after the other and the schema they make, queries against that schema.

    Args:
        scripts: In the order in which they are applied.
        catalog: The schema of a live database that the queries are for; migrations begin with an empty one.
        rules: By default all.
        answers: What the server of that database says of the queries (`asking`).
    """
    folded = Catalog()
    migrations = migrations_of(scripts)
    yield from of_migrations(migrations, folded, rules)
    yield from of_order(migrations, rules)
    done = {id(script) for script in migrations}
    for script in scripts:
        if id(script) not in done:
            _fold_online(folded, script)
    yield from of_schema(folded, rules)
    for script in scripts:
        if id(script) in done:
            continue
        if is_foreign(script):
            yield _foreign(script)
        else:
            yield from of_queries(script.statements, catalog or folded, rules, answers)


def migrations_of(scripts: Sequence[Script]) -> list[Script]:
    """Return the files that change a schema, and those numbered like them, which only change rows."""
    found = [script for script in scripts if script.is_migration and is_migration(script)]
    done = {id(script) for script in found}
    return [
        script for script in scripts
        if id(script) in done or (found and script.is_migration and _NUMBERED.search(script.path))
    ]  # fmt: skip


def folded(scripts: Sequence[Script]) -> Catalog:
    """Return the schema that the migrations among some files make."""
    catalog = Catalog()
    for script in migrations_of(scripts):
        for statement in script.statements if not is_foreign(script) else ():
            if not statement.problem:
                fold(catalog, statement, script.number)
        _fold_online(catalog, script)
    return catalog


def is_migration(script: Script) -> bool:
    """Whether a file changes a schema; one that only reads and writes rows holds queries."""
    return any(statement.kind not in QUERIES and statement.kind for statement in script.statements)


def is_foreign(script: Script) -> bool:
    """Whether a file is for another database: it says so in words of its own, or nothing in it is understood."""
    problems = [statement for statement in script.statements if statement.problem]
    if not problems or script.is_part:
        return False
    return len(problems) == len(script.statements) > 1 or bool(_OTHERS.search(script.text))


def _foreign(script: Script) -> Finding:
    unread = sum(bool(statement.problem) for statement in script.statements)
    message = f"is not for PostgreSQL: {unread} of {len(script.statements)} statements are not understood"
    return Finding(FOREIGN, Found(message, Place(script.path, script.first_line)), FOREIGN.level)


def once(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings; of a rule that is mended once for a file only the first, with the number of the others."""
    kept: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if finding.rule.once:
            kept.setdefault((finding.rule.id, finding.at.source), []).append(finding)
        else:
            yield finding
    for first, *others in kept.values():
        more = f"; {len(others)} more in this file" if others else ""
        yield replace(first, found=replace(first.found, message=first.found.message + more))


def by_place(findings: Iterable[Finding]) -> list[Finding]:
    """Sort findings as a reader goes through files."""

    def key(finding: Finding) -> tuple[str, int, int, str, str]:
        at: Place = finding.at
        return at.source, at.line, at.column, finding.rule.id, finding.found.name

    return sorted(findings, key=key)
