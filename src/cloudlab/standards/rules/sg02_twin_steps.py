"""SG02: a step of a saga is there once.

Standard: §3.3 Saga State Management
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.events import sagas
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import qualified

_STEP = re.compile(r"step_(number|no|index|name|type|order)|step")
_ALSO = frozenset({"tenant_id", "attempt", "direction", "saga_type", "phase", "created_at"})


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in sagas(catalog):
        steps = {name for name in table.columns if _STEP.fullmatch(name)}
        if "saga_id" not in table.columns or "step" not in table.name or not steps:
            continue
        allowed = _ALSO | steps | {"saga_id"}
        if not any("saga_id" in names and names & steps and names <= allowed for names in table.unique_sets()):
            step = min(steps, key=lambda name: ("number" not in name, name))
            yield Found(
                f"nothing keeps one saga from having {step} twice",
                table.at,
                str(table),
                f"ALTER TABLE {qualified(table)} ADD CONSTRAINT uq_{table.name}_saga_id_{step} UNIQUE (saga_id,"
                f" {step});",
            )


RULE = Rule(
    id="SG02",
    title="A step of a saga is there once",
    heading="§3.3 Saga State Management",
    level=Level.ERROR,
    why="Two workers that take up one saga both write step 3, and both run it: the card is charged twice.",
    remedy="UNIQUE (saga_id, step_number), with the attempt where attempts are rows.",
    bad=(
        "CREATE TABLE saga_steps (step_id uuid PRIMARY KEY, saga_id uuid NOT NULL, step_number integer NOT NULL);",
        "CREATE TABLE saga_steps (step_id uuid PRIMARY KEY, saga_id uuid, step_number int);"
        " CREATE INDEX i ON saga_steps (saga_id, step_number);",
        "CREATE TABLE order_saga_steps (saga_id uuid, step_name text, UNIQUE (step_name));",
    ),
    good=(
        "CREATE TABLE saga_steps (saga_id uuid, step_number integer, PRIMARY KEY (saga_id, step_number));",
        "CREATE TABLE saga_steps (tenant_id uuid, saga_id uuid, step_number int, attempt int,"
        " UNIQUE (tenant_id, saga_id, step_number, attempt));",
        "CREATE TABLE saga_instances (saga_id uuid PRIMARY KEY, current_step int);",
    ),
    schema=_check,
)
