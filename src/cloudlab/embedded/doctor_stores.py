"""Are the cache and the analytics database fit for their duty? Asked of any server, ours or not."""

import asyncio
import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Protocol, cast
from urllib.parse import quote, unquote, urlsplit

import valkey.asyncio
from valkey.exceptions import ResponseError, ValkeyError

from cloudlab.embedded.diagnosis import Diagnosis
from cloudlab.postgres.pool import is_local

_TIMEOUT_SECONDS = 5.0


class _Cache(Protocol):
    """As much of the client as is used here; its own types are partly unknown."""

    async def info(self, section: str) -> dict[str, object]: ...
    async def config_get(self, pattern: str) -> dict[str, str]: ...
    async def aclose(self) -> None: ...


async def check_cache(url: str) -> list[Diagnosis]:
    """Check version, bounds, persistence and password of the cache."""
    connect = cast(Callable[..., _Cache], valkey.asyncio.Valkey.from_url)
    client = connect(url, decode_responses=True, socket_timeout=_TIMEOUT_SECONDS)
    try:
        info = await client.info("server")
        version = str(info.get("valkey_version") or info.get("redis_version"))
        found = [_cache_version(version), *plain("cache", url, ("rediss", "valkeys", "unix"))]
        try:
            settings = await client.config_get("*")
        except ResponseError as error:
            text = f"the server does not tell its settings: {error}"
            return [
                *found,
                Diagnosis("cache settings", "UNKNOWN", text, "Check maxmemory and its policy with your provider."),
            ]
        return [*found, *_cache_settings(settings, url)]
    except (ValkeyError, OSError) as error:
        return [Diagnosis("cache", "CRITICAL", f"no answer: {error}", "Check [cache] url, and that the server runs.")]
    finally:
        await client.aclose()


def plain(name: str, url: str, encrypted: tuple[str, ...]) -> list[Diagnosis]:
    """Find fault with a URL that leads over a network by a scheme that is not one of the `encrypted` ones."""
    parts = urlsplit(url)
    if parts.scheme in encrypted or is_local(parts.hostname or ""):
        return []
    text = f"connections to {parts.hostname} cross a network unencrypted"
    return [Diagnosis(f"{name} tls", "CRITICAL", text, f"Use {encrypted[0]}:// in [{name}] url.")]


def _cache_version(version: str) -> Diagnosis:
    if int(version.split(".")[0]) < 7:
        return Diagnosis(
            "cache version", "CRITICAL", f"version {version} is older than 7", "Upgrade the server to 7 or later."
        )
    return Diagnosis("cache version", "OK", f"version {version}")


def _cache_settings(settings: dict[str, str], url: str) -> list[Diagnosis]:
    found: list[Diagnosis] = []
    bounded = settings.get("maxmemory", "0") != "0" and settings.get("maxmemory-policy") != "noeviction"
    if bounded:
        found.append(Diagnosis("cache bounds", "OK", f"evicts by {settings['maxmemory-policy']}"))
    else:
        text = "it has no bound, or refuses writes when it reaches it"
        remedy = "CONFIG SET maxmemory 64mb; CONFIG SET maxmemory-policy allkeys-lfu;"
        found.append(Diagnosis("cache bounds", "WARNING", text, remedy))
    if settings.get("appendonly") != "yes":
        text = "a restart empties it: every user is signed out"
        found.append(Diagnosis("cache persistence", "WARNING", text, "CONFIG SET appendonly yes;"))
    if not urlsplit(url).password:
        text = "it asks for no password"
        found.append(
            Diagnosis("cache password", "WARNING", text, "Set requirepass or an ACL, and put it into [cache] url.")
        )
    return found


async def check_analytics(url: str) -> list[Diagnosis]:
    """Check that ClickHouse answers, is new enough, and has the database."""
    try:
        return await asyncio.to_thread(_analytics, url)
    except (OSError, ValueError) as error:
        said = (
            error.read().decode(errors="replace").strip() if isinstance(error, urllib.error.HTTPError) else str(error)
        )
        remedy = "Check [analytics] url, and that the server runs."
        return [Diagnosis("analytics", "CRITICAL", f"no answer: {said}", remedy)]


def _analytics(url: str) -> list[Diagnosis]:
    parts = urlsplit(url)
    database = parts.path.strip("/") or "default"
    token = base64.b64encode(f"{unquote(parts.username or '')}:{unquote(parts.password or '')}".encode()).decode()
    host = f"{parts.hostname}:{parts.port or (8443 if parts.scheme == 'https' else 8123)}"
    statement = (
        "SELECT version() AS version, (SELECT any(engine) FROM system.databases WHERE name = {name:String}) AS engine"
        " FORMAT JSONEachRow"
    )
    request = urllib.request.Request(  # noqa: S310  the scheme is checked by config
        f"{parts.scheme}://{host}/?param_name={quote(database)}",
        data=statement.encode(),
        headers={"Authorization": f"Basic {token}"},
    )
    with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
        row: dict[str, str | None] = json.loads(response.read())
    version, engine = str(row["version"]), row["engine"]
    found = [Diagnosis("analytics version", "OK", f"ClickHouse {version}"), *plain("analytics", url, ("https",))]
    if int(version.split(".")[0]) < 23:
        found = [Diagnosis("analytics version", "CRITICAL", f"ClickHouse {version} is older than 23", "Upgrade it.")]
    if not engine:
        remedy = f"CREATE DATABASE {database} ENGINE = Atomic;"
        found.append(Diagnosis("analytics database", "CRITICAL", f"there is no database {database}", remedy))
    return found
