"""SE02: a grant on all tables holds for those made later too.

Standard: §9.2 Role-Based Access
"""

from collections.abc import Iterator

from postgast import pg_query_pb2 as pb

from cloudlab.standards.expressions import strings
from cloudlab.standards.rule import Found, Level, Rule, Step


def _check(step: Step) -> Iterator[Found]:
    node = step.statement.node
    if not isinstance(node, pb.GrantStmt) or not node.is_grant or node.targtype != pb.ACL_TARGET_ALL_IN_SCHEMA:
        return
    if node.objtype != pb.OBJECT_TABLE:
        return
    known = step.catalog.default_privileges | set(_defaults_of(step))
    for role in (one.role_spec.rolename for one in node.grantees):
        for schema in (one.string.sval for one in node.objects):
            if role and not {(schema, role), ("", role)} & known:
                yield step.found(
                    f"gives {role} the tables that are there now: it cannot use one that the next migration makes",
                    name=f"{schema}, {role}",
                    remedy=f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT … ON TABLES TO {role};",
                )


def _defaults_of(step: Step) -> Iterator[tuple[str, str]]:
    """Yield the default privileges that the file itself gives, before or after the grant."""
    for statement in step.script.statements:
        node = statement.node
        if isinstance(node, pb.AlterDefaultPrivilegesStmt):
            schemas = [
                name
                for option in node.options
                if option.def_elem.defname == "schemas"
                for name in strings(option.def_elem.arg.list.items)
            ]
            for role in node.action.grantees:
                yield from ((schema, role.role_spec.rolename) for schema in schemas or [""])


RULE = Rule(
    id="SE02",
    title="A grant on all tables holds for later ones too",
    heading="§9.2 Role-Based Access",
    level=Level.WARNING,
    why="GRANT … ON ALL TABLES is a loop over what is there at that moment. The first table made afterwards is refused "
    "to the application, in production, because the rights of the developer hid it.",
    remedy="ALTER DEFAULT PRIVILEGES IN SCHEMA … GRANT … ON TABLES TO …;",
    bad=(
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO application_readonly;",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO a;"
        " GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO a;",
        "GRANT ALL ON ALL TABLES IN SCHEMA app TO writer, reader;",
    ),
    good=(
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO a;"
        " ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO a;",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO a; GRANT SELECT ON ALL TABLES IN SCHEMA public TO a;",
        "GRANT SELECT ON users TO a;",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM a;",
        "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO a;",
    ),
    step=_check,
    on=frozenset({"GrantStmt"}),
)
