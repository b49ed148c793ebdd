"""Change tables while they are read and written: every change as a sequence of steps that nobody waits for.

    await online.run(url, AddIndex(table="items", columns=("price",)), schema="shop")

The plan is kept in `online_operations` of the schema, each step together with its note there: a process that was killed
at any point is continued by calling the same again.

Standard: §6.2 Zero-Downtime Migrations
"""

from cloudlab.errors import MigrationError
from cloudlab.schema.locks import Connection, Waits, one_runner
from cloudlab.schema.online_batches import Throttle
from cloudlab.schema.online_journal import Journal, OperationState, OperationStatus
from cloudlab.schema.online_running import Manners, Running
from cloudlab.schema.online_steps import Operation, Phase, Place, Step, names
from cloudlab.schema.postgres import PLATFORM_SCHEMA, connect

__all__ = ["Manners", "Phase", "Throttle", "go_on", "pause", "plan", "run", "status"]

# "online" in ASCII: not the lock of the migrations, which must not wait for an index that takes hours.
_LOCK = 0x6F6E6C696E65
_ENDED = {OperationState.DONE, OperationState.ROLLED_BACK}


async def plan(database: str | Connection, operation: Operation, *, schema: str = "public") -> list[Step]:
    """Return the steps an operation would take, contract included; changes and locks nothing.

    Raises:
        NotFound: What it names does not exist.
        MigrationError: It cannot be done online; the message says why.
    """
    async with connect(database) as conn:
        return await _planned(conn, operation, schema)


async def run(
    database: str | Connection,
    operation: Operation,
    *,
    schema: str = "public",
    phase: Phase = Phase.EXPAND,
    manners: Manners | None = None,
    waits: Waits | None = None,
) -> OperationStatus:
    """Do a phase of an operation, from where an earlier call with the same arguments has stopped.

    Args:
        database: A URL of the owner login straight to the server, or an open autocommit connection of it.
        operation: What.
        schema: Where its tables are.
        phase: Expand; contract, once no old code runs; or rollback, which takes back an expand.
        manners: How patient with locks, how fast, and who is told.
        waits: How long to wait for another online operation in this database.

    Raises:
        MigrationError: A statement was refused, or a pause was asked for. Run it again, or roll it back.
        TimedOut: Somebody held a lock all the time (named), or another online operation runs.
        NotFound: What it names does not exist.
    """
    async with connect(database) as conn, one_runner(conn, (waits or Waits()).runner_seconds, lock=_LOCK):
        await _settle(conn, schema)
        try:
            journal = Journal(conn, schema)
            await journal.prepare()
            entry = await _entry(conn, journal, operation, phase)
            await _go(conn, journal, entry, phase, manners or Manners())
            return await journal.get(entry.operation_id)
        finally:
            if not conn.closed:
                await conn.execute("RESET ALL")


async def go_on(
    database: str | Connection,
    operation_id: int,
    *,
    schema: str = "public",
    phase: Phase | None = None,
    manners: Manners | None = None,
) -> OperationStatus:
    """Go on with an operation by its number: in the phase it is in, or in another. Raises as `run` does."""
    async with connect(database) as conn, one_runner(conn, Waits().runner_seconds, lock=_LOCK):
        await _settle(conn, schema)
        try:
            journal = Journal(conn, schema)
            entry = await journal.get(operation_id)
            await _go(conn, journal, entry, phase or Phase(entry.phase), manners or Manners())
            return await journal.get(operation_id)
        finally:
            if not conn.closed:
                await conn.execute("RESET ALL")


async def status(database: str | Connection, *, schema: str = "public") -> list[OperationStatus]:
    """Return the online operations of a schema, the newest first. Locks nothing."""
    async with connect(database) as conn:
        return await Journal(conn, schema).all()


async def pause(database: str | Connection, operation_id: int, *, schema: str = "public") -> None:
    """Ask an operation to stop after the batch it is in; NotFound when there is none of this number."""
    async with connect(database) as conn:
        journal = Journal(conn, schema)
        await journal.get(operation_id)
        await journal.write(operation_id, wanted="pause")


async def _entry(conn: Connection, journal: Journal, operation: Operation, phase: Phase) -> OperationStatus:
    """Find the operation that is to go on, or write a new one down."""
    entry = await journal.newest(operation)
    if entry and OperationState(entry.state) not in _ENDED:
        return entry
    if phase is Phase.ROLLBACK:
        if entry:
            return entry
        raise MigrationError(f"{operation.NAME} was never begun with these arguments", hint="See `online status`.")
    return await journal.begin(operation, await _planned(conn, operation, journal.schema))


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


async def _planned(conn: Connection, operation: Operation, schema: str) -> list[Step]:
    """Compile the plan with an empty search path, so that the catalog writes every name in full."""
    async with conn.transaction():
        await conn.execute("SELECT /* online.planned */ set_config('search_path', '', true)")
        return await operation.plan(Place(conn, schema))


async def _settle(conn: Connection, schema: str) -> None:
    """Names in given SQL are found in the schema first; nothing ends a long step but its own waits."""
    path = names(tuple(dict.fromkeys((schema, PLATFORM_SCHEMA, "public", "pg_temp")))).as_string()
    await conn.execute(
        "SELECT /* online.settle */ set_config('search_path', %s, false), set_config('statement_timeout', '0', false),"
        " set_config('lock_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false),"
        " set_config('client_min_messages', 'warning', false)",
        [path],
    )
