"""CN03: a check says the same of a row today and tomorrow.

Standard: §2.2 Column Constraints
"""

from collections.abc import Iterator

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.expressions import calls, function_name
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, qualified, quoted
from cloudlab.standards.walking import walk

_CHANGING = frozenset(
    {
        "now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday", "random", "age",
        "current_setting", "gen_random_uuid", "txid_current", "pg_backend_pid", "nextval",
    }
)  # fmt: skip


def _check(catalog: Catalog) -> Iterator[Found]:
    known: dict[str, str] = {}  # a thousand schemas have the same checks
    for table in owned(catalog):
        for check in table.of_kind("c"):
            text, tree = (check.check.text, check.check.tree) if check.check else ("", None)
            if text not in known:
                known[text] = _changing(catalog, tree) if tree is not None else ""
            what = known[text]
            if what:
                yield Found(
                    f"the check calls {what}: rows that were right become wrong, or right",
                    check.at,
                    f"{table}.{check.name}",
                    f"ALTER TABLE {qualified(table)} DROP CONSTRAINT {quoted(check.name)}; and check it in a trigger"
                    " or where the row is written.",
                )


def _changing(catalog: Catalog, tree: Message) -> str:
    for node in walk(tree):
        if isinstance(node, pb.SQLValueFunction):
            return pb.SQLValueFunctionOp.Name(node.op).removeprefix("SVFOP_")
    for call in calls(tree):
        name = function_name(call)
        # age(a, b) compares two given moments; age(a) compares with today.
        if name in _CHANGING and not (name == "age" and len(call.args) > 1):
            return f"{name}()"
        own = [function for (_, what, _), function in catalog.functions.items() if what == name]
        if own and all(function.volatility != "immutable" for function in own) and _reads(own[0].body):
            return f"{name}(), which reads tables"
    return ""


def _reads(body: str) -> bool:
    return " from " in f" {' '.join(body.lower().split())} "


RULE = Rule(
    id="CN03",
    title="A check says the same of a row today and tomorrow",
    heading="§2.2 Column Constraints",
    level=Level.WARNING,
    why="A check runs when a row is written, and again when it is restored, copied or validated: what depends on the"
    " clock"
    " or on other rows refuses then what was accepted before, and the restore fails.",
    remedy="Keep checks to the row itself; look at the clock where the row is written.",
    bad=(
        "CREATE TABLE u (born date CHECK (born <= CURRENT_DATE - INTERVAL '13 years'));",
        "CREATE TABLE u (expires_at timestamptz, CONSTRAINT chk_u CHECK (expires_at > now()));",
        "CREATE FUNCTION in_stock(int) RETURNS bool LANGUAGE sql AS 'SELECT count(*) > 0 FROM stock';"
        " CREATE TABLE o (n int CHECK (in_stock(n)));",
        "CREATE TABLE u (born date); ALTER TABLE u ADD CONSTRAINT c CHECK (age(born) > '13 years') NOT VALID;",
    ),
    good=(
        "CREATE TABLE u (born date CHECK (born > '1900-01-01'));",
        "CREATE TABLE u (a timestamptz, b timestamptz, CHECK (age(b, a) < '1 day'));",
        "CREATE TABLE u (email text CHECK (length(lower(email)) > 3));",
        "CREATE FUNCTION fits(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 > 0'; CREATE TABLE o (n int CHECK"
        " (fits(n)));",
        "CREATE TABLE u (created_at timestamptz DEFAULT now());",
    ),
    schema=_check,
)
