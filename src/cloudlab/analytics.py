"""The analytics database: ClickHouse over HTTP, the same client whether it is embedded or a cluster elsewhere.

Rows are written in blocks and may be written again: the tables replace a row by its key, so a repeated block changes
nothing.

Standard: §1.1 Technology Stack, §1.2 Data Domain Mapping
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from cloudlab.errors import CloudLabError, Unavailable


class Analytics:
    """A connection to ClickHouse; each call is one HTTP request in a thread of its own."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401  a clickhouse_connect Client, whose methods are untyped
        self._client = client

    @classmethod
    async def connect(cls, url: str) -> "Analytics":
        """Connect to the database of the URL.

        Raises:
            Unavailable: The server does not answer.
        """

        connect: Any = clickhouse_connect.get_client  # pyright: ignore[reportUnknownMemberType]
        try:
            return cls(await asyncio.to_thread(connect, dsn=url, autogenerate_session_id=False))
        except ClickHouseError as error:
            raise Unavailable(f"ClickHouse does not answer: {error}") from error

    async def close(self) -> None:
        """Close the idle connections."""
        await asyncio.to_thread(self._client.close)

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Insert one block of rows; either all of them are there afterwards, or an error is raised.

        Raises:
            Unavailable: The server was not reached or broke off; the block may be written again as it is.
        """
        if rows:
            await self._run(lambda: self._client.insert(table, rows, column_names=columns))

    async def query(self, query: LiteralString, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Run a query with server-side parameters (`{name:Type}`) and return its rows by column name."""
        given = dict(parameters or {})
        result = await self._run(lambda: self._client.query(query, parameters=given))
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    async def _run(self, call: Any) -> Any:  # noqa: ANN401  the client's results have no common type
        try:
            return await asyncio.to_thread(call)
        except OperationalError as error:
            raise Unavailable(f"ClickHouse: {error}") from error
        except ClickHouseError as error:
            raise CloudLabError(f"ClickHouse refused: {error}") from error
