"""The statements of the library as pgbench sends them: the floor does the same work by construction."""

import re

from benchmarks.lab import Lab


async def opening(lab: Lab) -> str:
    """Return the statement that binds a transaction to the tenant, as the library has sent it to the server."""
    async with lab.platform() as platform, platform.session(lab.tenant) as s:
        # The pattern is put together by the server, so that this statement does not find itself.
        text = await s.fetch_one(
            _text, "SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%%/* session.' || 'open */%%'"
        )
        limits = platform.config.limits
    milliseconds = (
        limits.statement_timeout_seconds, limits.lock_timeout_seconds, limits.idle_in_transaction_timeout_seconds,
    )  # fmt: skip
    values = [
        f"'{lab.tenant.tenant_id}'",
        "NULL",
        str(lab.tenant.epoch),
        *(f"'{1000 * ms:.0f}'" for ms in milliseconds),
    ]
    return re.sub(r"\$(\d+)", lambda match: values[int(match[1]) - 1], text.strip())


# pgbench prepares what it sends in a pipeline before the first transaction, so before the context has set the path. It
# is the path that the context sets for a tenant in the shared tables: another one would mean a new plan each time.
SEARCH_PATH = {"search_path": "shop,cloudlab,pg_temp"}


def _text(statement: str) -> str:
    return statement


def transaction(opening_statement: str, *statements: str) -> str:
    """Return a script that sends a transaction as the library does: BEGIN with the first statement, then COMMIT."""
    first, *others = statements
    lines = ["\\startpipeline", "BEGIN;", f"{opening_statement};", f"{first};", "\\endpipeline"]
    return "\n".join([*lines, *(f"{statement};" for statement in others), "COMMIT;"])
