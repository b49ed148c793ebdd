"""SE03: nothing is granted to everybody.

Standard: §9.2 Role-Based Access
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule, Step

_WRITES = {"insert", "update", "delete", "truncate", "all"}


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.tables.values():
        held = {privilege.lower() for privilege in table.grants.get("public", ())}
        if not held or (table.kind not in {"table", "partitioned"} and not held & _WRITES):
            continue
        what = "change" if held & _WRITES else "read"
        yield Found(
            f"every login of the server may {what} it",
            table.at,
            str(table),
            f"REVOKE ALL ON {table} FROM PUBLIC;",
        )


def _check_step(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if not isinstance(node, pb.GrantStmt) or not node.is_grant or node.objtype != pb.OBJECT_SCHEMA:
        return
    rights = {one.access_priv.priv_name.lower() for one in node.privileges}
    public = any(one.role_spec.roletype == pb.ROLESPEC_PUBLIC for one in node.grantees)
    if public and (not rights or "create" in rights):
        schema = node.objects[0].string.sval
        yield step.found(
            f"lets everybody create objects in {schema}: one with a name that others use runs with their rights",
            name=schema,
            remedy=f"REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;",
        )


RULE = Rule(
    id="SE03",
    title="Nothing is granted to everybody",
    heading="§9.2 Role-Based Access",
    level=Level.WARNING,
    why="PUBLIC is every login there is and will be: monitoring, reports, a forgotten one.",
    remedy="REVOKE … FROM PUBLIC; and grant to the roles that need it.",
    bad=(
        "CREATE TABLE users (id bigint PRIMARY KEY); GRANT SELECT ON users TO PUBLIC;",
        "CREATE TABLE users (id bigint PRIMARY KEY); GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;",
        "GRANT ALL ON SCHEMA public TO PUBLIC;",
        "GRANT CREATE ON SCHEMA app TO PUBLIC;",
    ),
    good=(
        "CREATE TABLE users (id bigint PRIMARY KEY); GRANT SELECT ON users TO application_readonly;",
        "CREATE TABLE users (id bigint PRIMARY KEY); GRANT SELECT ON users TO PUBLIC; REVOKE ALL ON users FROM PUBLIC;",
        "GRANT USAGE ON SCHEMA public TO PUBLIC;",
        "CREATE VIEW health AS SELECT 1 AS ok; GRANT SELECT ON health TO PUBLIC;",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC;",
    ),
    schema=_check,
    step=_check_step,
    on=frozenset({"GrantStmt"}),
)
