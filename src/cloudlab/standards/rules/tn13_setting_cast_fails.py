"""TN13: a policy works when no tenant is set.

Standard: §4.1 Row-Level Security (RLS)
"""

from collections.abc import Iterator

from google.protobuf.message import Message
from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.expressions import calls, function_name, literal, type_name
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.tenancy import conditions
from cloudlab.standards.trees import parsed
from cloudlab.standards.walking import walk

_TEXT = {"text", "character varying", "name", "citext"}
_WITH_MISSING_OK = 2


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.real_tables():
        for policy in table.policies.values():
            wrong = next((text for tree in conditions(policy) if (text := _wrong(tree))), "")
            if wrong:
                yield Found(f"the policy {policy.name} {wrong}", policy.at, str(table))
    for function in catalog.functions.values():
        if function.language == "sql" and (tree := parsed(function.body)) and (wrong := _wrong(tree)):
            yield Found(wrong, function.at, f"{function.name}()")


def _wrong(tree: Message) -> str:
    """Say how reading a setting fails; empty when it does not."""
    for node in walk(tree):
        if isinstance(node, pb.TypeCast) and type_name(node.type_name) not in _TEXT:
            call = node.arg.func_call
            if node.arg.HasField("func_call") and function_name(call) == "current_setting" and _is_custom(call):
                return (
                    f"casts '' to {type_name(node.type_name)}, which fails: that is what a setting is after the first "
                    f"transaction that has set it"
                )
    for call in calls(tree):
        if function_name(call) == "current_setting" and _is_custom(call) and _insists(call):
            return f"fails where {literal(call.args[0])} was never set: current_setting() is called without true"
    return ""


def _insists(call: pb.FuncCall) -> bool:
    return len(call.args) < _WITH_MISSING_OK or literal(call.args[1]) == "false"


def _is_custom(call: pb.FuncCall) -> bool:
    return "." in (literal(call.args[0]) or "") if call.args else False


RULE = Rule(
    id="TN13",
    title="A policy works when no tenant is set",
    heading="§4.1 Row-Level Security (RLS)",
    level=Level.WARNING,
    why="A setting that was never set is an error, and after SET LOCAL has ended it is the empty string, which is no "
    "uuid: the statement fails, differently on each connection of a pool, where it should find no row.",
    remedy="nullif(current_setting('app.current_tenant_id', true), '')::uuid;",
    bad=(
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY t ON p"
        " USING (tenant_id = current_setting('app.current_tenant_id')::uuid);",
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY t ON p"
        " USING (tenant_id = (SELECT current_setting('app.tenant', true)::uuid));",
        "CREATE TABLE p (owner text); CREATE POLICY t ON p USING (owner = current_setting('app.user'));",
        "CREATE FUNCTION tenant() RETURNS uuid LANGUAGE sql STABLE"
        " AS $$ SELECT current_setting('app.tenant', true)::uuid $$;",
    ),
    good=(
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY t ON p"
        " USING (tenant_id = (SELECT nullif(current_setting('app.tenant', true), '')::uuid));",
        "CREATE TABLE p (owner text); CREATE POLICY t ON p USING (owner = current_setting('app.user', true));",
        "CREATE TABLE p (owner text); CREATE POLICY t ON p USING (owner = current_setting('role'));",
        "CREATE FUNCTION tenant() RETURNS uuid LANGUAGE sql STABLE"
        " AS $$ SELECT nullif(current_setting('app.tenant', true), '')::uuid $$;",
        "CREATE TABLE p (tenant_id uuid); CREATE POLICY t ON p USING (tenant_id = (SELECT current_tenant()));",
    ),
    schema=_check,
)
