"""One transaction whose BEGIN travels with its first statement and whose queued writes travel with the next one.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from collections.abc import Sequence
from typing import LiteralString

import psycopg

from cloudlab.errors import CommitUnknown
from cloudlab.postgres.wire import Command, Connection, Result, command, exchange

_POSITION = b"SELECT /* transaction.commit */ pg_current_wal_insert_lsn()::text"


class Transaction:
    """A transaction on one connection: nothing is sent before the first statement, nothing is left open after the end.

    Cost: the first statement carries BEGIN and the opening commands; COMMIT is one round trip, and carries whatever is
    still queued.
    """

    def __init__(self, connection: Connection, opening: Sequence[Command], schema: str = "") -> None:
        self._connection = connection
        self._schema = schema
        self._opening = list(opening)
        self._unsent: list[Command] = []
        self._begun = False
        self.rows_touched = 0
        self.position = ""

    def __repr__(self) -> str:
        state = "open" if self._begun else "not begun"
        return f"<Transaction {state}, {len(self._unsent)} commands unsent>"

    def use_schema(self, schema: str) -> None:
        """Say under which search path the next statements run: one prepared statement belongs to one of them."""
        self._schema = schema

    def queue(self, query: LiteralString, **params: object) -> None:
        """Send this with the next statement or with COMMIT; its error is raised there."""
        self._unsent.append(command(self._connection, query, params, self._schema))

    async def execute(self, query: LiteralString, **params: object) -> Result:
        """Run one statement, in one round trip with everything queued before it."""
        self._unsent.append(command(self._connection, query, params, self._schema))
        result = (await self._flush())[-1]
        self.rows_touched += result.row_count
        return result

    async def commit(self, *, tell_position: bool = False) -> None:
        """Make it durable; with `tell_position`, `position` says how far the log was then, in the same round trip.

        Raises:
            CommitUnknown: The connection was lost while the server was committing.
        """
        if not self._begun and not self._unsent:
            return
        self._unsent.append(Command(b"COMMIT"))
        if tell_position:
            self._unsent.append(Command(_POSITION))
        try:
            *_, result = results = await self._flush()
        except psycopg.OperationalError as error:
            if error.sqlstate is None or error.sqlstate.startswith(("08", "57P")):
                raise CommitUnknown() from error
            raise
        self._begun = False
        if tell_position:
            result = results[-2]
            self.position = str(results[-1].tuples()[0][0])
        if result.raw.command_status != b"COMMIT":
            raise psycopg.errors.InFailedSqlTransaction("the transaction was rolled back: a statement in it had failed")

    async def rollback(self) -> None:
        """Undo everything; on a broken connection the server has done so already."""
        self._unsent.clear()
        if self._begun and not self._connection.closed:
            self._begun = False
            await exchange(self._connection, [Command(b"ROLLBACK")])

    async def _flush(self) -> list[Result]:
        batch, self._unsent = self._unsent, []
        if not self._begun:
            batch = self._opening + batch
            self._begun = True
        return await exchange(self._connection, batch)
