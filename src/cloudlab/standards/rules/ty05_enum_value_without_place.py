"""TY05: a new enum value says where it stands among the others.

Standard: §2.2 Standard Data Types
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if not isinstance(node, pb.AlterEnumStmt):
        return
    if node.old_val:
        yield step.found(f"code that still says '{node.old_val}' fails from now on", name=node.old_val)
    elif not node.new_val_neighbor:
        yield step.found(f"'{node.new_val}' goes to the end, and ORDER BY follows it", name=node.new_val)


RULE = Rule(
    id="TY05",
    title="A new enum value says where it stands",
    heading="§2.2 Standard Data Types",
    level=Level.NOTE,
    why="Enums sort by their order: a value at the end is the greatest, whether or not that was meant. A renamed "
    "one breaks "
    "code that runs.",
    remedy="ALTER TYPE … ADD VALUE … AFTER …; and never rename a value in use.",
    bad=(
        "ALTER TYPE mood ADD VALUE 'so so';",
        "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'so so';",
        "ALTER TYPE mood RENAME VALUE 'good' TO 'great';",
    ),
    good=(
        "ALTER TYPE mood ADD VALUE 'so so' BEFORE 'bad';",
        "ALTER TYPE mood ADD VALUE 'so so' AFTER 'good';",
        "CREATE TYPE mood AS ENUM ('good', 'bad');",
    ),
    step=_check,
)
