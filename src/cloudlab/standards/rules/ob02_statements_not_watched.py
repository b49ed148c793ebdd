"""OB02: the server counts what each statement costs.

Standard: §10.1 Performance Monitoring
"""

from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Server


def _check(server: Server) -> Iterator[Found]:
    libraries = server.settings.get("shared_preload_libraries", "")
    installed = any(row["name"] == "pg_stat_statements" for row in server.facts.get("extensions", ()))
    if "pg_stat_statements" not in libraries:
        # Who may not see the setting sees it empty; the extension in the database then says that it is loaded.
        if not installed:
            yield Found("pg_stat_statements is not loaded: nobody can say which statement takes the time")
    elif not installed:
        yield Found(
            "pg_stat_statements is loaded and not created in this database",
            remedy="CREATE EXTENSION pg_stat_statements;",
        )


RULE = Rule(
    id="OB02",
    title="The server counts what each statement costs",
    heading="§10.1 Performance Monitoring",
    level=Level.WARNING,
    why="Without it a slow database is searched by guessing: the log shows the slow statement, never the fast one that "
    "runs a million times.",
    remedy="shared_preload_libraries = 'pg_stat_statements', restart, CREATE EXTENSION pg_stat_statements;",
    server=_check,
)
