"""LK14: a partition is attached with a CHECK that proves its bounds.

Standard: §7.1 Time-Based Partitioning
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if not isinstance(node, pb.AlterTableStmt):
        return
    for each in node.cmds:
        command = getattr(each.alter_table_cmd, "def").partition_cmd
        if each.alter_table_cmd.subtype != pb.AT_AttachPartition:
            continue
        parent, part = step.table(node.relation), step.table(command.name)
        if part is None or step.is_new(part) or command.bound.is_default:
            continue
        keys = set(parent.partition_key) if parent else set[str | None]()
        proven = any(one.validated and keys & set(one.columns) for one in part.of_kind("c"))
        if keys and not proven:
            yield step.found(f"reads all of {part} to see that its rows fit, while nobody can use it", name=part.name)
        siblings = [one for one in step.catalog.tables.values() if parent and one.partition_of == parent.key]
        for sibling in siblings:
            if sibling.partition_bound == "default" and not step.is_new(sibling):
                yield step.found(f"reads all of the default partition {sibling} while nobody can", name=sibling.name)


_BEFORE = (
    "CREATE TABLE e (id bigint, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);\n"
    "CREATE TABLE e1 (id bigint, at date, PRIMARY KEY (id, at));\n-- next file\n"
)
_ATTACH = "ALTER TABLE e ATTACH PARTITION e1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');"
_CHECK = "ALTER TABLE e1 ADD CONSTRAINT c CHECK (at >= '2026-01-01' AND at < '2026-02-01')"

RULE = Rule(
    id="LK14",
    title="A partition is attached with a proof of its bounds",
    heading="§7.1 Time-Based Partitioning",
    level=Level.WARNING,
    why="ATTACH looks at every row of the new partition under ACCESS EXCLUSIVE on it, unless a validated CHECK "
    "says that they "
    "fit; and at every row of a default partition.",
    remedy="ADD CONSTRAINT … CHECK (bounds) NOT VALID, VALIDATE, then ATTACH; and keep no default partition.",
    bad=(
        f"{_BEFORE}{_ATTACH}",
        f"{_BEFORE}{_CHECK} NOT VALID;\n-- next file\n{_ATTACH}",
        f"CREATE TABLE d (id bigint, at date, PRIMARY KEY (id, at)); {_BEFORE}"
        "ALTER TABLE e ATTACH PARTITION d DEFAULT;\n-- next file\n"
        f"{_CHECK};\n-- next file\n{_ATTACH}",
    ),
    good=(
        f"{_BEFORE}{_CHECK};\n-- next file\n{_ATTACH}",
        f"{_BEFORE}{_CHECK} NOT VALID;\n-- next file\nALTER TABLE e1 VALIDATE CONSTRAINT c; {_ATTACH}",
        f"{_BEFORE}CREATE TABLE e2 (id bigint, at date, PRIMARY KEY (id, at));"
        " ALTER TABLE e ATTACH PARTITION e2 FOR VALUES FROM ('2026-03-01') TO ('2026-04-01');",
    ),
    step=_check,
    on=frozenset({"AlterTableStmt"}),
)
