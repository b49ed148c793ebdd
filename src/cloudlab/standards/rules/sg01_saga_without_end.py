"""SG01: the states of a saga say how it ended.

Standard: §3.3 Saga State Management
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Column, Table
from cloudlab.standards.events import sagas
from cloudlab.standards.expressions import constants
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import checks_of, quoted


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in sagas(catalog):
        column = table.columns.get("status") or table.columns.get("state")
        if column is None or "step_number" in table.columns:
            continue
        states = _states(catalog, table, column)
        name = quoted(column.name)
        if states is None:
            remedy = f"CHECK ({name} IN ('running', 'completed', 'compensating', 'compensated', 'failed'));"
            yield Found(f"any text is a {column.name} of a saga", column.at, f"{table}.{column.name}", remedy)
        elif any(state.startswith("compensating") for state in states) and "compensated" not in states:
            yield Found(
                f"a saga that has been undone has no state of its own among {', '.join(sorted(states))}",
                column.at,
                f"{table}.{column.name}",
                f"Add 'compensated' to the states of {name}; failed is what needs a human.",
            )


def _states(catalog: Catalog, table: Table, column: Column) -> set[str] | None:
    if enum := catalog.enum(column.type):
        return set(enum.labels)
    trees = [check.check.tree for check in checks_of(table, column.name) if check.check]
    return {text for tree in trees if tree is not None for text in constants(tree)} or None


RULE = Rule(
    id="SG01",
    title="The states of a saga say how it ended",
    heading="§3.3 Saga State Management",
    level=Level.WARNING,
    why="Without compensated, an order that was undone cleanly and one that hangs half-done are both failed: nobody"
    " knows"
    " which one needs a human.",
    remedy="completed, compensated or failed, and nothing else at the end.",
    bad=(
        "CREATE TABLE saga_instances (status text CHECK (status IN ('started', 'completed', 'compensating',"
        " 'failed')));",
        "CREATE TABLE saga_instances (saga_id uuid, status varchar(50) NOT NULL);",
        "CREATE TYPE s AS ENUM ('started', 'compensating', 'failed'); CREATE TABLE sagas (status s NOT NULL);",
    ),
    good=(
        "CREATE TABLE saga_instances (status text"
        " CHECK (status IN ('started', 'completed', 'compensating', 'compensated', 'failed')));",
        "CREATE TYPE s AS ENUM ('running', 'completed', 'compensating', 'compensated', 'failed');"
        " CREATE TABLE sagas (status s NOT NULL);",
        "CREATE TABLE saga_steps (saga_id uuid, step_number int, status text);",
        "CREATE TABLE orders (status text);",
    ),
    schema=_check,
)
