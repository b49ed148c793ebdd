"""What is written down about a stack: `runtime.json` while it runs, `stack.json` for as long as its data exists.

Both hold secrets and are readable by their owner only; both are replaced in one step, so a reader sees the old or the
new one and never half of it.
"""

import base64
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cloudlab.config import MASTER_KEY_BYTES, Config, DatabaseUrls, ShardConfig
from cloudlab.embedded import certificates
from cloudlab.embedded.homes import Home, write_private
from cloudlab.embedded.postgres_logins import APP, CONTROL_DATABASE, LOGINS, OWNER, READONLY, WORKER, check_shard
from cloudlab.embedded.processes import Mark
from cloudlab.errors import EmbeddedError

DEFAULT_SHARDS = (("us_east_001", "us-east-1"), ("eu_west_001", "eu-west-1"))
_SECRETS = ("postgres", *LOGINS, "valkey", "clickhouse")
_MASTER_KEY = "master_key_"


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """One running server: its process, its port, its version."""

    name: str
    mark: Mark
    port: int
    version: str


@dataclass(frozen=True, slots=True)
class Runtime:
    """A running stack: how to reach it, and its servers."""

    state_dir: Path
    config: Config
    servers: tuple[ServerRecord, ...]


@dataclass(slots=True)
class Saved:
    """What outlives the servers: secrets, the ports to prefer, the shards, and whether TLS was asked for or refused."""

    secrets: dict[str, str] = field(repr=False)
    ports: dict[str, int]
    shards: list[tuple[str, str]]
    tls: bool | None = None

    @classmethod
    def empty(cls) -> "Saved":
        """Return what suffices to recognise and stop servers: no secrets."""
        return cls(dict.fromkeys(_SECRETS, ""), {}, [])


def load_saved(home: Home) -> Saved:
    """Read what is remembered of this stack; new secrets for a new one."""
    if not home.saved.exists():
        made = Saved({name: secrets.token_urlsafe(24) for name in _SECRETS}, {}, [])
        add_master_key(made)
        return made
    try:
        raw: dict[str, Any] = json.loads(home.saved.read_text())
        return Saved(raw["secrets"], raw["ports"], [(name, region) for name, region in raw["shards"]], raw.get("tls"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EmbeddedError(
            f"{home.saved} cannot be read: {error}",
            hint="It holds the passwords of the data beside it. Restore it, or `cloudlab down --purge` deletes both.",
        ) from error


def save(home: Home, saved: Saved) -> None:
    """Write down what must outlive the servers, before any of it is used."""
    write_private(home.saved, json.dumps(asdict(saved), indent=2))


def add_master_key(saved: Saved) -> int:
    """Make another key to wrap the keys of personal data with; return its version, one more than the last."""
    version = max(_master_keys(saved), default=0) + 1
    saved.secrets[f"{_MASTER_KEY}{version}"] = base64.b64encode(secrets.token_bytes(MASTER_KEY_BYTES)).decode()
    return version


def _master_keys(saved: Saved) -> dict[int, bytes]:
    return {
        int(name.removeprefix(_MASTER_KEY)): base64.b64decode(text)
        for name, text in saved.secrets.items()
        if name.startswith(_MASTER_KEY)
    }


def add_shards(saved: Saved, shards: Sequence[tuple[str, str]] | None) -> None:
    """Add the shards asked for; those there already stay, for their data does."""
    for name, region in shards or (() if saved.shards else DEFAULT_SHARDS):
        check_shard(name, region)
        known = dict(saved.shards).get(name)
        if known is None:
            saved.shards.append((name, region))
        elif known != region:
            raise EmbeddedError(
                f"shard {name} stands in region {known}, not in {region}",
                hint="A shard keeps its region; give the new shard another name.",
            )


def build(home: Home, saved: Saved, servers: Iterable[ServerRecord]) -> Runtime:
    """Put together how the running stack is reached."""
    ports = saved.ports

    def urls(database: str) -> DatabaseUrls:
        where = f"/{database}?host={quote(str(home.socket_dir), safe='')}&port={ports['postgres']}"
        if saved.tls:
            root = quote(str(home.tls_dir / certificates.CA), safe="")
            verified = f"sslmode=verify-full&sslrootcert={root}&channel_binding=require"
            where = f"/{database}?host=localhost&hostaddr=127.0.0.1&port={ports['postgres']}&{verified}"
        app, owner, worker, readonly = (
            f"postgresql://{login}:{saved.secrets[login]}@{where}" for login in (APP, OWNER, WORKER, READONLY)
        )
        return DatabaseUrls(app, owner, worker, readonly)

    config = Config(
        control=urls(CONTROL_DATABASE),
        shards=tuple(ShardConfig(name, region, urls(name)) for name, region in saved.shards),
        cache_url=f"unix://:{saved.secrets['valkey']}@{quote(str(home.socket_dir))}/valkey.sock",
        analytics_url=f"http://cloudlab:{saved.secrets['clickhouse']}@127.0.0.1:{ports['clickhouse']}/cloudlab",
        master_keys=_master_keys(saved),
    )
    return Runtime(home.state_dir, config, tuple(servers))


def write(home: Home, saved: Saved, runtime: Runtime) -> None:
    """Write runtime.json: `config` as config.load() reads it, `servers` as this package does."""
    config = runtime.config
    content = {
        "config": {
            "control": asdict(config.control),
            "shards": [{"name": s.name, "region": s.region, **asdict(s.urls)} for s in config.shards],
            "cache": {"url": config.cache_url},
            "analytics": {"url": config.analytics_url},
            "encryption": {
                "keys": {str(number): base64.b64encode(key).decode() for number, key in config.master_keys.items()}
            },
        },
        "servers": {
            record.name: {
                "pid": record.mark.pid,
                "created": record.mark.created,
                "port": record.port,
                "version": record.version,
            }
            for record in runtime.servers
        },
        "superuser_url": superuser_url(home, saved, "postgres"),
        "data_directory": str(home.data_dir),
    }
    write_private(home.runtime, json.dumps(content, indent=2))


def superuser_url(home: Home, saved: Saved, database: str) -> str:
    """Return the URL of PostgreSQL's superuser, for provisioning and benchmarks."""
    host = quote(str(home.socket_dir), safe="")
    return f"postgresql://postgres:{saved.secrets['postgres']}@/{database}?host={host}&port={saved.ports['postgres']}"


def recorded(home: Home) -> dict[str, ServerRecord]:
    """Read which servers were started last; nothing when the file is missing or damaged: the processes tell."""
    try:
        servers: dict[str, dict[str, Any]] = json.loads(home.runtime.read_text())["servers"]
        return {
            name: ServerRecord(name, Mark(entry["pid"], entry["created"]), entry["port"], entry["version"])
            for name, entry in servers.items()
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}
