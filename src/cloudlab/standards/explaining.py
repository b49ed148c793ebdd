"""Why a rule has said nothing: what it looked at, and what it knew of it.

Standard: §11.3 Operational Excellence
"""

from collections.abc import Iterator, Sequence

from google.protobuf.message import Message

from cloudlab.standards import checking
from cloudlab.standards.catalog import Catalog, Table
from cloudlab.standards.folding import fold
from cloudlab.standards.rule import Earlier, Query, Rule, Step
from cloudlab.standards.scripts import Script, Statement
from cloudlab.standards.trees import relations


def explain(rule: Rule, scripts: Sequence[Script], catalog: Catalog | None = None) -> Iterator[str]:
    """Yield a line for each statement and each table that a rule looks at, and what it decided."""
    folded = Catalog()
    for script in scripts:
        earlier = Earlier()
        for statement in script.statements:
            if script.is_migration and checking.is_migration(script):
                if rule.step:
                    yield _of_step(rule, Step(folded, statement, script, earlier))
                fold(folded, statement, script.number)
                earlier.append(statement)
            elif rule.query and statement.kind in checking.QUERIES:
                found = [one.message for one in rule.query(Query(statement, catalog or folded))]
                yield _line(statement, _known(statement.node, catalog or folded, None), found)
    for judged in filter(None, (folded, catalog)):
        yield from _of_schema(rule, judged)
    if rule.server or rule.pooler:
        yield "It judges servers and poolers, by what they say of themselves."


def _of_step(rule: Rule, step: Step) -> str:
    assert rule.step
    statement = step.statement
    if statement.problem:
        return f"{statement.at}: not understood: {statement.problem}"
    found = [one.message for one in rule.step(step)]
    return _line(statement, _known(statement.node, step.catalog, step.script.number), found)


def _line(statement: Statement, known: str, found: Sequence[str]) -> str:
    what = f"reported: {'; '.join(found)}" if found else "nothing to report"
    return f"{statement.at}: {statement.kind}{known}: {what}"


def _known(tree: Message | None, catalog: Catalog, number: int | None) -> str:
    """Say what the model knows of the tables of a statement."""
    if tree is None:
        return ""
    said: dict[str, str] = {}
    for relation in relations(tree):
        table = catalog.find(relation.schemaname, relation.relname)
        said.setdefault(relation.relname, _state(table, number))
    return f" ({', '.join(f'{name} {what}' for name, what in said.items())})" if said else ""


def _state(table: Table | None, number: int | None) -> str:
    if table is None:
        return "is not known: nothing before makes it"
    if table.is_temporary:
        return "is temporary"
    if table.is_opaque:
        return "was given to a function or a block that may protect it"
    return "is made by the same file: nobody uses it yet" if number and table.born == number else "is in use"


def _of_schema(rule: Rule, catalog: Catalog) -> Iterator[str]:
    if rule.schema is None:
        return
    found: dict[str, list[str]] = {}
    for one in rule.schema(catalog):
        found.setdefault(one.name.split(".")[0], []).append(one.message)
    for table in catalog.tables.values():
        messages = found.get(str(table).split(".")[0], found.get(table.name, []))
        what = f"reported: {'; '.join(messages)}" if messages else "nothing to report"
        opaque = ", given to a function or a block that may change it" if table.is_opaque else ""
        yield f"{table.at or 'database'}: {table.kind} {table}{opaque}: {what}"
