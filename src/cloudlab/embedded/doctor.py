"""`cloudlab doctor`: what is wrong with this installation, and how to mend it.

For the embedded stack it looks at programs, disk and processes first; then it asks the servers themselves, as it does
for servers named in `cloudlab.toml`.
"""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from cloudlab.config import Config
from cloudlab.embedded import clickhouse, doctor_postgres, doctor_stores, homes, runtime, stack, valkey
from cloudlab.embedded.diagnosis import Diagnosis
from cloudlab.embedded.homes import Home
from cloudlab.embedded.postgres_binaries import find_binaries
from cloudlab.errors import EmbeddedError


async def doctor(target: Path | Config) -> list[Diagnosis]:
    """Check an installation: a state directory of the embedded stack, or servers by their URLs.

    Unsafe durability and what does not answer is CRITICAL; what will hurt later is WARNING; what cannot be learnt is
    UNKNOWN. About 0.2 s; every wait ends after 5 s.
    """
    if isinstance(target, Config):
        return await _ask_servers(target)
    try:
        home = homes.resolve(target)
    except EmbeddedError as error:
        return [Diagnosis("account", "CRITICAL", error.message, error.hint)]
    found = await asyncio.to_thread(_programs, home)
    found.append(_disk(home))
    servers = await stack.status(target)
    found.extend(map(_server, servers))
    if any(server.state == "running" for server in servers) and home.saved.exists():
        try:
            config = runtime.build(home, runtime.load_saved(home), ()).config
        except (EmbeddedError, OSError, KeyError) as error:
            return [*found, Diagnosis("state", "CRITICAL", f"{home.saved}: {error}", "Run `cloudlab up`.")]
        found.extend(await _ask_servers(config))
    return found


async def _ask_servers(config: Config) -> list[Diagnosis]:
    answers = await asyncio.gather(
        doctor_postgres.check(config),
        doctor_stores.check_cache(config.cache_url),
        doctor_stores.check_analytics(config.analytics_url),
    )
    return [one for some in answers for one in some]


def _programs(home: Home) -> list[Diagnosis]:
    checks: dict[str, Callable[[], str]] = {
        "program postgres": lambda: f"{find_binaries().full_version} in {find_binaries().bin_dir}",
        "program valkey": lambda: str(valkey.find_binary(home.account)),
        "program clickhouse": lambda: clickhouse.check_installed() or "chdb-core is installed",
    }
    found: list[Diagnosis] = []
    for name, look in checks.items():
        try:
            found.append(Diagnosis(name, "OK", look()))
        except EmbeddedError as error:
            found.append(Diagnosis(name, "CRITICAL", f"{error.message} {error.details}".strip(), error.hint))
    return found


def _disk(home: Home) -> Diagnosis:
    where = next(folder for folder in (home.data_dir, *home.data_dir.parents) if folder.exists())
    free = shutil.disk_usage(where).free
    if free < homes.MINIMUM_FREE_BYTES:
        text = f"{free >> 20} MiB are free on {where}"
        return Diagnosis("disk", "CRITICAL", text, "Free some space, or move the state directory to another disk.")
    if free < 4 * homes.MINIMUM_FREE_BYTES:
        return Diagnosis("disk", "WARNING", f"{free >> 20} MiB are free on {where}", "Free some space soon.")
    return Diagnosis("disk", "OK", f"{free >> 30} GiB are free on {where}")


def _server(server: stack.ServerStatus) -> Diagnosis:
    name = f"server {server.name}"
    if server.state == "running":
        return Diagnosis(name, "OK", f"runs as process {server.pid}")
    if server.state == "crashed":
        return Diagnosis(name, "CRITICAL", "it should run and does not", "Run `cloudlab up`; see its log below logs/.")
    return Diagnosis(name, "WARNING", "it is not running", "Run `cloudlab up`.")
