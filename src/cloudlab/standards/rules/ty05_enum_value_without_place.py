"""TY05: a new value of an enum is put in its place.

Standard: §2.2 Standard Data Types
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import strings
from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if isinstance(node, pb.AlterEnumStmt) and not node.old_val and not node.new_val_neighbor:
        name = ".".join(strings(node.type_name))
        yield step.found(
            f"'{node.new_val}' sorts after all other values of {name}",
            name=name,
            remedy=f"ALTER TYPE {name} ADD VALUE '{node.new_val}' AFTER '…'; also where the end is meant.",
        )


RULE = Rule(
    id="TY05",
    title="A new value of an enum is put in its place",
    heading="§2.2 Standard Data Types",
    level=Level.NOTE,
    why="Enums sort by position and not by name, and a position cannot be changed afterwards.",
    remedy="ALTER TYPE … ADD VALUE … BEFORE or AFTER another one.",
    bad=(
        "ALTER TYPE order_status ADD VALUE 'returned';",
        "ALTER TYPE shop.order_status ADD VALUE IF NOT EXISTS 'returned';",
        "CREATE TYPE s AS ENUM ('a', 'c'); ALTER TYPE s ADD VALUE 'b';",
    ),
    good=(
        "ALTER TYPE order_status ADD VALUE 'returned' AFTER 'delivered';",
        "ALTER TYPE order_status ADD VALUE IF NOT EXISTS 'draft' BEFORE 'paid';",
        "ALTER TYPE order_status RENAME VALUE 'payed' TO 'paid';",
    ),
    step=_check,
    on=frozenset({"AlterEnumStmt"}),
)
