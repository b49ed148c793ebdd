"""The cache: copies of rows with their version, never the truth.

A copy is written only by whoever read it, and only while its version is at or above the key's floor. The floor is
raised by the feed after a change has committed, so that a slow reader can never put an old copy back. One load at a
time runs in a process for each key; the others wait for it. A cache that cannot be reached is a cache that holds
nothing.

Standard: §1.1 Technology Stack, §1.2 Data Domain Mapping
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from valkey.asyncio import Valkey
from valkey.exceptions import ConnectionError as ValkeyConnectionError
from valkey.exceptions import TimeoutError as ValkeyTimeoutError

from cloudlab.cancelling import not_lost
from cloudlab.errors import Unavailable

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_UNREACHABLE = (ValkeyConnectionError, ValkeyTimeoutError, OSError)

# A floor lives longer than any copy that it could have to keep out.
_PUT = """
local floor = tonumber(redis.call('HGET', KEYS[1], 'floor') or '0')
local version = tonumber(redis.call('HGET', KEYS[1], 'version') or '0')
if tonumber(ARGV[1]) < floor or tonumber(ARGV[1]) < version then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'data', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
_RAISE_FLOOR = """
local floor = tonumber(redis.call('HGET', KEYS[1], 'floor') or '0')
if tonumber(ARGV[1]) <= floor then return 0 end
redis.call('HSET', KEYS[1], 'floor', ARGV[1])
if tonumber(redis.call('HGET', KEYS[1], 'version') or '0') < tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], 'version', 'data')
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""


@dataclass(slots=True)
class CacheStatistics:
    """What this process has asked of the cache."""

    hits: int = 0
    misses: int = 0
    errors: int = 0

    @property
    def hit_ratio(self) -> float | None:
        """Share of look-ups answered from the cache; None when there was none."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else None


@dataclass(frozen=True, slots=True)
class Versioned:
    """A copy of something and the version it is a copy of; `data` must survive JSON."""

    version: int
    data: Mapping[str, Any]


class Cache:
    """Version-checked cache-aside on Valkey or Redis."""

    def __init__(self, client: Valkey, *, ttl_seconds: float = 3600.0) -> None:
        self._client: Any = client  # its commands are untyped
        self._ttl_ms = round(ttl_seconds * 1000)
        self._put: Any = client.register_script(_PUT)
        self._raise_floor: Any = client.register_script(_RAISE_FLOOR)
        self._loading: dict[str, asyncio.Task[Versioned]] = {}
        self.statistics = CacheStatistics()

    @classmethod
    def connect(cls, url: str, *, ttl_seconds: float = 3600.0) -> "Cache":
        """Prepare a client for the URL (`valkey://`, `redis://`, `rediss://` or `unix://`); it connects when used."""
        return cls(Valkey.from_url(url, socket_timeout=2.0, socket_connect_timeout=2.0), ttl_seconds=ttl_seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ping(self) -> bool:
        """Say whether the cache can be reached."""
        try:
            return bool(await _answer(self._client.execute_command("PING")))
        except _UNREACHABLE:
            return False

    async def get(self, key: str, load: Callable[[], Awaitable[Versioned]]) -> Versioned:
        """Return the copy under this key, or load the original and keep a copy of it.

        Cost: one round trip to the cache on a hit; on a miss one load per process and key, however many ask.

        Raises:
            Whatever `load` raises; nothing is kept then.
        """
        if (found := await self._read(key)) is not None:
            self.statistics.hits += 1
            return found
        self.statistics.misses += 1
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.ensure_future(self._load(key, load))
            task.add_done_callback(lambda _: self._loading.pop(key, None))
        # Shielded: the caller that happened to start the load may be cancelled, the others still wait for it.
        return await asyncio.shield(task)

    async def raise_floor(self, key: str, version: int) -> None:
        """Refuse, from now on, every copy under this key that is older than this version.

        Raises:
            Unavailable: The cache cannot be reached; the caller must try again.
        """
        try:
            await _answer(self._raise_floor(keys=[key], args=[version, 2 * self._ttl_ms]))
        except _UNREACHABLE as error:
            raise Unavailable(f"the cache cannot be reached: {error}") from error

    async def forget(self, prefixes: Iterable[str]) -> int:
        """Drop every copy and floor whose key begins with one of these; return how many there were.

        For after a restore: floors from a future that never happened would keep out what is true now. Looks at every
        key of the cache, a thousand in a round trip.

        Raises:
            Unavailable: The cache was not reached; what is left must still be dropped.
        """
        wanted, dropped = tuple(prefixes), 0
        try:
            with not_lost():
                async for key in self._client.scan_iter(count=1000):
                    name = key.decode() if isinstance(key, bytes) else str(key)
                    if name.startswith(wanted):
                        dropped += await self._client.unlink(name)
        except _UNREACHABLE as error:
            raise Unavailable(f"the cache cannot be reached: {error}") from error
        return dropped

    async def _read(self, key: str) -> Versioned | None:
        try:
            version, data = await _answer(self._client.execute_command("HMGET", key, "version", "data"))
        except _UNREACHABLE as error:
            self._unreachable(error)
            return None
        return Versioned(int(version), json.loads(data)) if version is not None and data is not None else None

    async def _load(self, key: str, load: Callable[[], Awaitable[Versioned]]) -> Versioned:
        loaded = await load()
        try:
            await _answer(self._put(keys=[key], args=[loaded.version, json.dumps(dict(loaded.data)), self._ttl_ms]))
        except _UNREACHABLE as error:
            self._unreachable(error)
        return loaded

    def _unreachable(self, error: Exception) -> None:
        self.statistics.errors += 1
        log.warning("cache unreachable", extra={"error": repr(error)})


async def _answer(asked: Awaitable[Answer]) -> Answer:
    """Wait for the server's answer; the client sends by `wait_for`, which may lose a cancellation."""
    with not_lost():
        return await asked
