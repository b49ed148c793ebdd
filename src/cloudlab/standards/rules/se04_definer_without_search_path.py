"""SE04: a function that runs as its owner has a search_path of its own.

Standard: §9.2 Role-Based Access
"""

from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule


def _check(catalog: Catalog) -> Iterator[Found]:
    for function in catalog.functions.values():
        if function.security_definer and function.search_path is None:
            name = f"{function.name}({function.arguments})"
            yield Found(
                "runs as its owner on the caller's search_path: a table or an operator of the caller is used instead",
                function.at,
                name,
                f"ALTER FUNCTION {name} SET search_path = {function.schema or 'public'}, pg_temp;",
            )


RULE = Rule(
    id="SE04",
    title="A function that runs as its owner has a search_path of its own",
    heading="§9.2 Role-Based Access",
    level=Level.ERROR,
    why="SECURITY DEFINER lends the owner's rights to whoever calls. What the body names without a schema is looked up "
    "on the caller's search_path, where the caller can put another table, function or operator.",
    remedy="ALTER FUNCTION … SET search_path = the schemas it means, pg_temp last.",
    bad=(
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f() SECURITY DEFINER;",
        "CREATE FUNCTION f(a integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET work_mem = '1MB'"
        " AS 'BEGIN RETURN a; END';",
    ),
    good=(
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = '' AS 'SELECT 1';",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = public, app AS"
        " 'SELECT 1';",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS 'SELECT 1';",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1';",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';"
        " ALTER FUNCTION f() SET search_path = public;",
    ),
    mends=True,
    schema=_check,
)
