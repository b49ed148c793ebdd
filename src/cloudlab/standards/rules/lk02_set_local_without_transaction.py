"""LK02: SET LOCAL stands inside of a transaction.

Standard: §6.1 Migration File Structure
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    begins = any(isinstance(one.node, pb.TransactionStmt) for one in step.script.statements)
    if not isinstance(node, pb.VariableSetStmt) or not node.is_local or step.statement.transaction is not None:
        return
    # A plain file may be run as one transaction by its tool; one that begins transactions itself is not.
    if begins or step.script.dialect in {"dbmate", "goose", "flyway"}:
        yield step.found(f"SET LOCAL {node.name} has no effect: there is no transaction here", name=node.name)


RULE = Rule(
    id="LK02",
    title="SET LOCAL stands inside of a transaction",
    heading="§6.1 Migration File Structure",
    level=Level.ERROR,
    why="Outside of a transaction SET LOCAL is forgotten at once, with a warning that nobody reads.",
    remedy="Put it between BEGIN and COMMIT, or write SET and RESET.",
    bad=(
        "SET LOCAL lock_timeout = '1s'; BEGIN; ALTER TABLE users ADD COLUMN a integer; COMMIT;",
        "BEGIN; SELECT 1; COMMIT; SET LOCAL statement_timeout = 0;",
        "-- migrate:up transaction:false\nSET LOCAL lock_timeout = '1s';\n-- migrate:down\nSELECT 1;",
    ),
    good=(
        "BEGIN; SET LOCAL lock_timeout = '1s'; ALTER TABLE users ADD COLUMN a integer; COMMIT;",
        "-- migrate:up\nSET LOCAL lock_timeout = '1s';\n-- migrate:down\nSELECT 1;",
        "SET lock_timeout = '1s'; ALTER TABLE users ADD COLUMN a integer;",
        "SET LOCAL lock_timeout = '1s'; ALTER TABLE users ADD COLUMN a integer;",
    ),
    step=_check,
    on=frozenset({"VariableSetStmt"}),
)
