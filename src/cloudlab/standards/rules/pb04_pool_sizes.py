"""PB04: the pools of PgBouncer fit each other.

Standard: §5.3 PgBouncer Configuration
"""

from collections.abc import Iterator

from cloudlab.standards.poolers import Pooler
from cloudlab.standards.rule import Found, Level, Rule


def _check(pooler: Pooler) -> Iterator[Found]:
    size, most = _number(pooler, "default_pool_size"), _number(pooler, "max_db_connections")
    clients = _number(pooler, "max_client_conn")
    if size and most and size > most:
        yield _found(pooler, "default_pool_size", f"a pool of {size} never fills: max_db_connections is {most}")
    if size and clients and clients < size:
        yield _found(pooler, "max_client_conn", f"{clients} clients never use a pool of {size}")
    if pooler.settings.get("pool_mode", "session") == "transaction" and "search_path" in pooler.settings.get(
        "ignore_startup_parameters", ""
    ):
        yield _found(
            pooler,
            "ignore_startup_parameters",
            "a search_path that a client asks for is dropped without a word: it works in another schema",
        )


def _found(pooler: Pooler, name: str, message: str) -> Found:
    return Found(message, pooler.at("pgbouncer", name), name)


def _number(pooler: Pooler, name: str) -> int:
    text = pooler.settings.get(name, "")
    return int(text) if text.isdigit() else 0


RULE = Rule(
    id="PB04",
    title="The pools of PgBouncer fit each other",
    heading="§5.3 PgBouncer Configuration",
    level=Level.WARNING,
    why="A limit below the size of a pool makes clients wait for connections that are never opened.",
    remedy="max_client_conn above, default_pool_size for each user and database, max_db_connections as their sum.",
    bad=(
        "[pgbouncer]\ndefault_pool_size = 200\nmax_db_connections = 100",
        "[pgbouncer]\ndefault_pool_size = 50\nmax_client_conn = 20",
        "[pgbouncer]\npool_mode = transaction\nignore_startup_parameters = extra_float_digits,search_path",
    ),
    good=(
        "[pgbouncer]\nmax_client_conn = 1000\ndefault_pool_size = 25\nmax_db_connections = 100",
        "[pgbouncer]\ndefault_pool_size = 25\nmax_db_connections = 0",
        "[pgbouncer]\npool_mode = transaction\nignore_startup_parameters = extra_float_digits",
    ),
    pooler=_check,
)
