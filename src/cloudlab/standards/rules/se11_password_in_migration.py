"""SE11: a password does not stand in a migration.

Standard: §9.2 Role-Based Access
"""

import re
from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Step

_NO_SECRET = re.compile(r"SCRAM-SHA-256\$|md5[0-9a-f]{32}|\$\{|\{\{|%\(|:'?\w|<|changeme|^$|__\w+__|@@", re.IGNORECASE)


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if not isinstance(node, pb.CreateRoleStmt | pb.AlterRoleStmt):
        return
    role = node.role if isinstance(node, pb.CreateRoleStmt) else node.role.rolename
    for option in node.options:
        element = option.def_elem
        secret = element.arg.string.sval if element.defname == "password" else ""
        if secret and not _NO_SECRET.match(secret):
            yield step.found(
                f"the password of {role} is in the repository for ever, and in the log of every server it ran on",
                name=role,
                remedy=f"CREATE ROLE {role} LOGIN; and set the password from outside with \\password, as a SCRAM hash.",
            )


RULE = Rule(
    id="SE11",
    title="A password does not stand in a migration",
    heading="§9.2 Role-Based Access",
    level=Level.WARNING,
    why="A migration is read by all who have the repository, is the same on every server, and is logged as it runs.",
    remedy="Set it from outside: \\password of psql sends a SCRAM hash and no password.",
    bad=(
        "CREATE ROLE app LOGIN PASSWORD 'development';",
        "ALTER ROLE app WITH PASSWORD 'Tr0ub4dor';",
        "CREATE USER app PASSWORD 'secret' CREATEDB;",
    ),
    good=(
        "CREATE ROLE app LOGIN;",
        "CREATE ROLE app LOGIN PASSWORD 'SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy';",
        "CREATE ROLE app LOGIN PASSWORD '${APP_PASSWORD}';",
        "ALTER ROLE app PASSWORD NULL;",
    ),
    step=_check,
    on=frozenset({"CreateRoleStmt", "AlterRoleStmt"}),
)
