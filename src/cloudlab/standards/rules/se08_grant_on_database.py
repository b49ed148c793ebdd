"""SE08: rights on tables are granted on tables.

Standard: §9.2 Role-Based Access
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if isinstance(node, pb.GrantStmt) and node.is_grant and node.objtype == pb.OBJECT_DATABASE and not node.privileges:
        roles = ", ".join(one.role_spec.rolename or "PUBLIC" for one in node.grantees)
        yield step.found(
            f"gives {roles} CONNECT, TEMPORARY and CREATE of schemas, and not a single table",
            name=roles,
            remedy=f"GRANT CONNECT ON DATABASE …; GRANT USAGE ON SCHEMA …; ALTER DEFAULT PRIVILEGES … TO {roles};",
        )


RULE = Rule(
    id="SE08",
    title="Rights on tables are granted on tables",
    heading="§9.2 Role-Based Access",
    level=Level.NOTE,
    why="ALL PRIVILEGES ON DATABASE sounds like everything and is CONNECT, TEMPORARY and the right to make schemas.",
    remedy="Grant CONNECT on the database, USAGE on the schema, and rights on the tables.",
    bad=(
        "GRANT ALL PRIVILEGES ON DATABASE cloudlab TO application_admin;",
        "GRANT ALL ON DATABASE app TO a, b;",
        "GRANT ALL PRIVILEGES ON DATABASE app TO PUBLIC;",
    ),
    good=(
        "GRANT CONNECT ON DATABASE cloudlab TO application_readonly;",
        "GRANT ALL PRIVILEGES ON users TO application_admin;",
        "REVOKE ALL ON DATABASE cloudlab FROM PUBLIC;",
    ),
    step=_check,
    on=frozenset({"GrantStmt"}),
)
