"""MF05: a file that its runner wraps into a transaction does not begin or end one.

Standard: §6.1 Migration File Structure
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Step

_NAMES = {pb.TRANS_STMT_BEGIN: "BEGIN", pb.TRANS_STMT_START: "START", pb.TRANS_STMT_COMMIT: "COMMIT"}
_ENDS = {pb.TRANS_STMT_COMMIT, pb.TRANS_STMT_ROLLBACK}


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if not isinstance(node, pb.TransactionStmt):
        return
    if step.script.wrapped and node.kind in _NAMES:
        yield step.found(
            f"{_NAMES[node.kind]} in a file that already is a transaction: its record cannot commit with it"
        )
    elif not step.script.wrapped and node.kind in _NAMES and node.kind not in _ENDS:
        controls = [one.node for one in step.earlier if isinstance(one.node, pb.TransactionStmt)]
        if controls and controls[-1].kind in _NAMES and controls[-1].kind not in _ENDS:
            yield step.found("BEGIN inside of a transaction only warns; the next COMMIT ends both")
        later = [one for one in step.script.statements if one.offset > step.statement.offset]
        if not any(isinstance(one.node, pb.TransactionStmt) and one.node.kind in _ENDS for one in later):
            yield step.found("the transaction is never ended: all of it is rolled back when the file ends")


RULE = Rule(
    id="MF05",
    title="Who runs a migration owns its transaction",
    heading="§6.1 Migration File Structure",
    level=Level.ERROR,
    why="A COMMIT in the file ends the runner's transaction: a crash between it and the record leaves a schema "
    "that nobody "
    "knows was changed.",
    remedy="Leave BEGIN and COMMIT to the runner.",
    bad=(
        "-- migrate:up\nBEGIN;\nALTER TABLE t ADD COLUMN a integer;\nCOMMIT;\n-- migrate:down\nSELECT 1;",
        "-- +goose Up\nBEGIN;\nSELECT 1;\n-- +goose Down\nSELECT 1;",
        "BEGIN; BEGIN; SELECT 1; COMMIT;",
        "BEGIN; ALTER TABLE t ADD COLUMN a integer;",
    ),
    good=(
        "BEGIN; ALTER TABLE t ADD COLUMN a integer; COMMIT;",
        "-- migrate:up transaction:false\nBEGIN;\nSELECT 1;\nCOMMIT;\n-- migrate:down\nSELECT 1;",
        "BEGIN; SELECT 1; COMMIT; BEGIN; SELECT 2; COMMIT;",
    ),
    step=_check,
    on=frozenset({"TransactionStmt"}),
)
