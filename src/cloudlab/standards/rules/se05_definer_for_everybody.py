"""SE05: a function that runs as its owner is not for everybody.

Standard: §9.2 Role-Based Access
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Function
from cloudlab.standards.expressions import calls, function_name
from cloudlab.standards.rule import Found, Level, Rule


def _check(catalog: Catalog) -> Iterator[Found]:
    triggers = {trigger.function.rpartition(".")[2] for table in catalog.tables.values()
                for trigger in table.triggers.values()}  # fmt: skip
    policies = _used_by_policies(catalog)
    for function in catalog.functions.values():
        opens = function.security_definer and function.public_execute and not _is_trigger(function)
        if opens and function.name not in triggers | policies:
            name = f"{function.name}({function.arguments})"
            yield Found(
                "every login may call it and acts as its owner then",
                function.at,
                name,
                f"REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC; GRANT EXECUTE … TO the roles that need it;",
            )


def _is_trigger(function: Function) -> bool:
    """Whether it can only be called by a trigger: its body uses a trigger's rows."""
    return any(word in function.body.lower() for word in ("return new", "return old", "tg_op", "tg_table", "tg_event"))


def _used_by_policies(catalog: Catalog) -> set[str]:
    """Return the functions that everybody who reads a table must be able to call."""
    return {
        function_name(call)
        for table in catalog.tables.values()
        for policy in table.policies.values()
        for condition in (policy.using, policy.with_check)
        if condition and condition.tree
        for call in calls(condition.tree)
    }


RULE = Rule(
    id="SE05",
    title="A function that runs as its owner is not for everybody",
    heading="§9.2 Role-Based Access",
    level=Level.NOTE,
    why="Every function may be called by PUBLIC unless that is revoked, and SECURITY DEFINER lends its owner's rights.",
    remedy="REVOKE EXECUTE ON FUNCTION … FROM PUBLIC; and grant it by name.",
    bad=(
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = '' AS 'SELECT 1';",
        "CREATE FUNCTION wipe(a integer) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM t';",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f() SECURITY DEFINER;",
    ),
    good=(
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';"
        " REVOKE EXECUTE ON FUNCTION f() FROM PUBLIC;",
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END';",
        "CREATE FUNCTION mine(a uuid) RETURNS boolean LANGUAGE sql SECURITY DEFINER AS 'SELECT true';"
        " CREATE TABLE t (a uuid); CREATE POLICY p ON t USING (mine(a));",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1';",
    ),
    schema=_check,
)
