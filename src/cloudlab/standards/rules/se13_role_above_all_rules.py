"""SE13: no role that logs in stands above row-level security.

Standard: §9.2 Role-Based Access
"""

import re
from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.rule import Found, Level, Rule, Server, Step

_MEANT = re.compile(
    r"backup|dump|replic|repl$|monitor|postgres|supabase_admin|rdsadmin|cloudsqlsuperuser|azuresu|barman"
)


def _check_step(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if not isinstance(node, pb.CreateRoleStmt | pb.AlterRoleStmt):
        return
    role = node.role if isinstance(node, pb.CreateRoleStmt) else node.role.rolename
    for option in node.options:
        element = option.def_elem
        given = element.arg.boolean.boolval
        if given and element.defname in {"superuser", "bypassrls"} and not _MEANT.search(role):
            yield step.found(f"{role} passes every policy by", name=role, remedy=_remedy(role, element.defname))


def _check_server(server: Server) -> Iterator[Found]:
    for row in server.facts.get("roles", ()):
        role, what = str(row["role"]), "superuser" if row["superuser"] else "bypassrls"
        if row["bypasses"] and not row["superuser"] and row["can_login"] and not _MEANT.search(role):
            yield Found(f"{role} can log in and passes every policy by", name=role, remedy=_remedy(role, what))


def _remedy(role: str, what: str) -> str:
    return f"ALTER ROLE {role} NO{what.upper()};"


RULE = Rule(
    id="SE13",
    title="No role that logs in stands above row-level security",
    heading="§9.2 Role-Based Access",
    level=Level.WARNING,
    why="SUPERUSER and BYPASSRLS are held to no policy, FORCE or not: one such login makes all policies ornament.",
    remedy="ALTER ROLE … NOSUPERUSER NOBYPASSRLS; a migration needs the owner of the tables and no more.",
    bad=(
        "CREATE ROLE app LOGIN BYPASSRLS;",
        "CREATE ROLE app LOGIN SUPERUSER;",
        "ALTER ROLE app SUPERUSER;",
    ),
    good=(
        "CREATE ROLE app LOGIN NOBYPASSRLS NOSUPERUSER;",
        "CREATE ROLE backup_reader LOGIN BYPASSRLS;",
        "ALTER ROLE app NOBYPASSRLS;",
        "CREATE ROLE app LOGIN CREATEDB;",
    ),
    step=_check_step,
    on=frozenset({"CreateRoleStmt", "AlterRoleStmt"}),
    server=_check_server,
)
