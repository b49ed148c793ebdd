"""The analytics database: ClickHouse over HTTP, the same client whether it is embedded or a cluster elsewhere.

Rows are written in blocks and may be written again: the tables replace a row by its key, so a repeated block changes
nothing.

Standard: §1.1 Technology Stack, §1.2 Data Domain Mapping
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, LiteralString, cast

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from cloudlab.errors import CloudLabError, Unavailable


class Analytics:
    """ClickHouse behind a URL, connected when first used: a shop goes on selling while it is away.

    Each call is one HTTP request in a thread of its own.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None  # a clickhouse_connect Client, whose methods are untyped
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        """Close the idle connections."""
        if self._client is not None:
            await asyncio.to_thread(self._client.close)

    async def _connected(self) -> Any:  # noqa: ANN401  see above
        async with self._connecting:
            if self._client is None:
                connect = cast(Any, clickhouse_connect).get_client
                try:
                    self._client = await asyncio.to_thread(connect, dsn=self._url, autogenerate_session_id=False)
                except ClickHouseError as error:
                    raise Unavailable(
                        f"ClickHouse does not answer: {error}",
                        hint="Run `cloudlab doctor`; `cloudlab migrate up` makes its database.",
                    ) from error
        return self._client

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Insert one block of rows; either all of them are there afterwards, or an error is raised.

        Raises:
            Unavailable: The server was not reached or broke off; the block may be written again as it is.
        """
        if rows:
            client = await self._connected()
            await self._run(lambda: client.insert(table, rows, column_names=columns))

    async def query(self, query: LiteralString, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """Run a query with server-side parameters (`{name:Type}`) and return its rows by column name."""
        given = dict(parameters or {})
        client = await self._connected()
        result = await self._run(lambda: client.query(query, parameters=given))
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    async def _run(self, call: Any) -> Any:  # noqa: ANN401  the client's results have no common type
        try:
            return await asyncio.to_thread(call)
        except OperationalError as error:
            raise Unavailable(f"ClickHouse: {error}") from error
        except ClickHouseError as error:
            raise CloudLabError(f"ClickHouse refused: {error}") from error
