"""Change tables while they are read and written: every change as a sequence of steps that nobody waits for.

    await online.run(url, AddIndex(table="items", columns=("price",)), schema="shop")

The plan is kept in `online_operations` of the schema, each step together with its note there: a process that was killed
at any point is continued by calling the same again.

Standard: §6.2 Zero-Downtime Migrations
"""

from cloudlab.schema import online_engine as engine
from cloudlab.schema.locks import Connection, Waits
from cloudlab.schema.online_batches import Throttle
from cloudlab.schema.online_journal import Journal, OperationStatus
from cloudlab.schema.online_running import Manners
from cloudlab.schema.online_steps import Operation, Phase, Step
from cloudlab.schema.postgres import connect

__all__ = ["Manners", "Phase", "Throttle", "go_on", "pause", "plan", "run", "status"]


async def plan(database: str | Connection, operation: Operation, *, schema: str = "public") -> list[Step]:
    """Return the steps an operation would take, contract included; changes and locks nothing.

    Raises:
        NotFound: What it names does not exist.
        MigrationError: It cannot be done online; the message says why.
    """
    async with connect(database) as conn:
        return await engine.planned(conn, operation, schema)


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
    async with connect(database) as conn:
        return await engine.run(conn, operation, schema, phase, manners or Manners(), waits or Waits())


async def go_on(
    database: str | Connection,
    operation_id: int,
    *,
    schema: str = "public",
    phase: Phase | None = None,
    manners: Manners | None = None,
) -> OperationStatus:
    """Go on with an operation by its number: in the phase it is in, or in another. Raises as `run` does."""
    async with connect(database) as conn:
        return await engine.go_on(conn, operation_id, schema, phase, manners or Manners())


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
