"""Begin, find again and finish online operations over one open connection.

Standard: §6.2 Zero-Downtime Migrations
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from cloudlab.errors import MigrationError
from cloudlab.schema.locks import Connection, Waits, one_runner
from cloudlab.schema.online_journal import Journal, OperationState, OperationStatus
from cloudlab.schema.online_running import Manners, Running
from cloudlab.schema.online_steps import Operation, Phase, Place, Step, names

# "online" in ASCII: not the lock of the migrations, which must not wait for an index that takes hours.
_LOCK = 0x6F6E6C696E65
_FOUND_TOO = ("cloudlab", "public", "pg_temp")
_ENDED = {OperationState.DONE, OperationState.ROLLED_BACK}


async def run(
    conn: Connection, operation: Operation, schema: str, phase: Phase, manners: Manners, waits: Waits
) -> OperationStatus:
    """Do a phase of an operation, begun before or not; see `online.run`."""
    async with _settled(conn, schema, waits):
        journal = Journal(conn, schema)
        await journal.prepare()
        entry = await _entry(conn, journal, operation, phase)
        await _go(conn, journal, entry, phase, manners)
        return await journal.get(entry.operation_id)


async def go_on(
    conn: Connection, operation_id: int, schema: str, phase: Phase | None, manners: Manners
) -> OperationStatus:
    """Go on with an operation by its number; see `online.go_on`."""
    async with _settled(conn, schema, Waits()):
        journal = Journal(conn, schema)
        entry = await journal.get(operation_id)
        await _go(conn, journal, entry, phase or Phase(entry.phase), manners)
        return await journal.get(operation_id)


async def begun(conn: Connection, operation: Operation, schema: str) -> bool:
    """Whether an operation with these arguments was ever begun in the schema."""
    return await Journal(conn, schema).newest(operation) is not None


@asynccontextmanager
async def _settled(conn: Connection, schema: str, waits: Waits) -> AsyncGenerator[None]:
    """Be the only online operation of the database, with settings of its own."""
    async with one_runner(conn, waits.runner_seconds, lock=_LOCK):
        await _settle(conn, schema)
        try:
            yield
        finally:
            if not conn.closed:
                await conn.execute("RESET ALL")


async def _entry(conn: Connection, journal: Journal, operation: Operation, phase: Phase) -> OperationStatus:
    """Find the operation that is to go on, or write a new one down."""
    entry = await journal.newest(operation)
    if entry and OperationState(entry.state) not in _ENDED:
        return entry
    if phase is Phase.ROLLBACK:
        if entry:
            return entry
        raise MigrationError(f"{operation.NAME} was never begun with these arguments", hint="See `online status`.")
    return await journal.begin(operation, await planned(conn, operation, journal.schema))


async def _go(conn: Connection, journal: Journal, entry: OperationStatus, phase: Phase, manners: Manners) -> None:
    running = Running(conn, journal, entry, manners)
    state = OperationState(entry.state)
    if phase is Phase.ROLLBACK:
        if state is not OperationState.ROLLED_BACK:
            await running.back()
    elif entry.phase == Phase.ROLLBACK and state is not OperationState.ROLLED_BACK:
        raise MigrationError(
            f"{entry.operation} {entry.operation_id} is being rolled back", hint="Finish that: run its rollback again."
        )
    elif state not in _ENDED and not (state is OperationState.EXPANDED and phase is Phase.EXPAND):
        await running.forward(phase)


async def planned(conn: Connection, operation: Operation, schema: str) -> list[Step]:
    """Compile the plan with an empty search path, so that the catalog writes every name in full."""
    async with conn.transaction():
        await conn.execute("SELECT /* online_engine.planned */ set_config('search_path', '', true)")
        return await operation.plan(Place(conn, schema))


async def _settle(conn: Connection, schema: str) -> None:
    """Names in given SQL are found in the schema first; nothing ends a long step but its own waits."""
    path = names(tuple(dict.fromkeys((schema, *_FOUND_TOO)))).as_string()
    await conn.execute(
        # With row_security off, rows that a policy hides are an error: none is left out silently.
        "SELECT /* online_engine.settle */ set_config('search_path', %s, false),"
        " set_config('row_security', 'off', false), set_config('statement_timeout', '0', false),"
        " set_config('lock_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false),"
        " set_config('client_min_messages', 'warning', false),"
        # Pages go to the disk as they are written, not all at once when a checkpoint syncs them: commits wait for that.
        " set_config('backend_flush_after', '256kB', false)",
        [path],
    )
