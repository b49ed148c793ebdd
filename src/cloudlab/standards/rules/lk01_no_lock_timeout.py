"""LK01: a lock that others wait behind is asked for with a lock_timeout.

Standard: §6.2 Schema Changes
"""

from collections.abc import Iterator

from cloudlab.standards.facts import CHANGES, changes, setting
from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    if step.script.dialect == "dbmate":
        return  # whose runner sets one for each attempt
    value = setting(step, "lock_timeout")
    if value not in {None, "0", "0s", "0ms"}:
        return
    for change in changes(step):
        if change.fact.blocks_writes:
            yield step.found(
                f"waits for {change.fact.lock} on {change.table} without a limit, and everybody behind it waits too",
                name=change.table,
            )
            return


RULE = Rule(
    id="LK01",
    title="A lock that others wait behind has a lock_timeout",
    heading="§6.2 Schema Changes",
    level=Level.WARNING,
    why="A statement that queues for its lock behind a long reader stops all that come after it: without a limit, "
    "for as "
    "long as the reader reads.",
    remedy="SET lock_timeout = '100ms'; and try again until it succeeds, as `cloudlab migrate up` does.",
    bad=(
        "ALTER TABLE users ADD COLUMN age integer;",
        "DROP TABLE users;",
        "CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION f();",
        "SET lock_timeout = '1s'; RESET lock_timeout; ALTER TABLE users ADD COLUMN age integer;",
        "BEGIN; SET LOCAL lock_timeout = '1s'; COMMIT; ALTER TABLE users ADD COLUMN age integer;",
    ),
    good=(
        "SET lock_timeout = '1s'; ALTER TABLE users ADD COLUMN age integer;",
        "BEGIN; SET LOCAL lock_timeout = '1s'; ALTER TABLE users ADD COLUMN age integer; COMMIT;",
        "CREATE TABLE users (user_id uuid PRIMARY KEY); ALTER TABLE users ADD COLUMN age integer;",
        "CREATE INDEX CONCURRENTLY idx_users_age ON users (age);",
        "ALTER TABLE users VALIDATE CONSTRAINT chk_users_age;",
        "ALTER TABLE users ALTER COLUMN age SET STATISTICS 500;",
    ),
    step=_check,
    on=CHANGES,
    once=True,
)
