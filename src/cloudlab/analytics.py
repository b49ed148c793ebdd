"""The analytics database: ClickHouse over HTTP, the same client whether it is embedded or a cluster elsewhere.

Rows are written in blocks and may be written again: the tables replace a row by its key, so a repeated block changes
nothing.

Standard: §1.1 Technology Stack, §1.2 Data Domain Mapping
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, LiteralString, cast
from urllib.parse import urlsplit
from uuid import UUID

import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from cloudlab.errors import CloudLabError, InvalidInput, Unavailable

_EXCHANGING: Final = "exchanging"


def _quoted(name: str) -> str:
    """Return an identifier of ClickHouse for a place that takes no parameter.

    Raises:
        InvalidInput: It is not plain letters, digits and underscores.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise InvalidInput(f"{name!r} is no name of a ClickHouse table or database")
    return f"`{name}`"


class Analytics:
    """ClickHouse behind a URL, connected when first used: a shop goes on selling while it is away.

    Each call is one HTTP request in a thread of its own.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._database = urlsplit(url).path.strip("/") or "default"
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

    async def forget_tenant(self, tenant_id: UUID) -> None:
        """Delete a tenant's rows from every table that has a `tenant_id`. May be repeated; does not look for copies."""
        found = await self.query(
            "SELECT table FROM system.columns WHERE database = {database:String} AND name = 'tenant_id'",
            {"database": self._database},
        )
        for row in found:
            await self._command(
                "DELETE FROM {table:Identifier} WHERE tenant_id = {tenant:UUID}",
                {"table": row["table"], "tenant": str(tenant_id)},
            )

    async def shadow(self, name: str, tables: Sequence[str]) -> tuple["Analytics", bool]:
        """Return a second database with empty tables like these, and whether it had to be made.

        For building a copy beside the live tables; `exchange` puts it in their place.
        """
        copy = f"{self._database}_rebuild_{name}"
        found = await self.query("SELECT name FROM system.tables WHERE database = {copy:String}", {"copy": copy})
        names = {row["name"] for row in found}
        if _EXCHANGING in names:
            # An exchange was cut off: nobody knows which of the tables here are the old ones.
            await self._command("DROP DATABASE {copy:Identifier}", {"copy": copy})
            names.clear()
        await self._command("CREATE DATABASE IF NOT EXISTS {copy:Identifier} ENGINE = Atomic", {"copy": copy})
        for table in tables:
            # ClickHouse takes no parameters behind AS.
            like = f" AS {_quoted(self._database)}.{_quoted(table)}"
            await self._command(
                "CREATE TABLE IF NOT EXISTS {copy:Identifier}.{table:Identifier}" + like, {"copy": copy, "table": table}
            )
        return Analytics(urlsplit(self._url)._replace(path=f"/{copy}").geturl()), not names.issuperset(tables)

    async def exchange(self, copy: "Analytics", tables: Sequence[str]) -> None:
        """Put the tables of a copy in the place of those here, each at once for all readers, and drop what was here."""
        names = {"copy": copy._database, "live": self._database}
        await self._command("CREATE TABLE {copy:Identifier}." + _EXCHANGING + " (n UInt8) ENGINE = TinyLog", names)
        for table in tables:
            await self._command(
                "EXCHANGE TABLES {copy:Identifier}.{table:Identifier} AND {live:Identifier}.{table:Identifier}",
                names | {"table": table},
            )
        await self._command("DROP DATABASE {copy:Identifier}", names)

    async def _command(self, statement: str, parameters: Mapping[str, object]) -> None:
        given = dict(parameters)
        client = await self._connected()
        await self._run(lambda: client.command(statement, parameters=given))

    async def _run(self, call: Any) -> Any:  # noqa: ANN401  the client's results have no common type
        try:
            return await asyncio.to_thread(call)
        except OperationalError as error:
            raise Unavailable(f"ClickHouse: {error}") from error
        except ClickHouseError as error:
            raise CloudLabError(f"ClickHouse refused: {error}") from error
