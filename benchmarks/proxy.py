"""Counts round trips where they happen: on the wire, between client and server."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict


@dataclass(slots=True)
class Counter:
    """How often a client has spoken after the server had: each time it had waited for an answer."""

    round_trips: int = 0


@asynccontextmanager
async def counting(url: str, folder: Path) -> AsyncGenerator[Counter]:
    """Stand between clients and the server of `url`, at a socket of the same port in `folder`."""
    parts, counter = conninfo_to_dict(url), Counter()
    name = f".s.PGSQL.{parts['port']}"
    behind = Path(str(parts["host"])) / name

    async def relay(from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(str(behind))
        answered = True

        async def up() -> None:
            nonlocal answered
            while data := await from_client.read(1 << 16):
                counter.round_trips += answered
                answered = False
                to_server.write(data)
            to_server.close()

        async def down() -> None:
            nonlocal answered
            while data := await from_server.read(1 << 16):
                answered = True
                to_client.write(data)
            to_client.close()

        await asyncio.gather(up(), down())

    async with await asyncio.start_unix_server(relay, str(folder / name)):
        yield counter
