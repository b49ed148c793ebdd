"""Settings: where the databases are and how long anything may take.

Order, later wins: defaults, the file (`cloudlab.toml`, or what `cloudlab up` wrote about the embedded stack), the
environment (`CLOUDLAB_…`). An unknown key is an error that names the nearest known one. Secrets never appear in a repr.

Standard: §1.1 Technology Stack
"""

import base64
import binascii
import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from cloudlab.errors import ConfigError

STATE_DIR = ".cloudlab"
RUNTIME_FILE = "runtime.json"
CONFIG_FILE = "cloudlab.toml"


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """One database, one login for each duty, so that no process holds more rights than its work needs."""

    app_url: str = field(repr=False)
    owner_url: str = field(repr=False)
    worker_url: str = field(repr=False)
    readonly_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ShardConfig:
    """One shard: its name in the directory, its region, its logins, and the readonly login of its replica, if any."""

    name: str
    region: str
    urls: DatabaseUrls
    replica_url: str = field(default="", repr=False)


# What comes after so many is sent unprepared instead of filling the server's memory: about 10 kB each.
PREPARED_STATEMENTS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on waiting and on connections; every wait in the platform ends by one of these.

    `prepared_statements_max` is per connection; 0 switches them off, as a PgBouncer before 1.21 needs it.
    """

    pool_max_size: int = 8
    pool_timeout_seconds: float = 10.0
    statement_timeout_seconds: float = 30.0
    lock_timeout_seconds: float = 5.0
    idle_in_transaction_timeout_seconds: float = 60.0
    prepared_statements_max: int = PREPARED_STATEMENTS_MAX


@dataclass(frozen=True, slots=True)
class Payments:
    """Who takes the money: `sandbox`, which moves none, or `stripe`."""

    provider: str = "sandbox"
    stripe_api_key: str = field(default="", repr=False)
    stripe_webhook_secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """What workers clear away and look after, and when."""

    saga_days: float = 30.0
    move_grace_hours: float = 24.0
    chores_every_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Config:
    """A whole installation: the control database, the shards, the cache, the analytics database, the master keys."""

    control: DatabaseUrls
    shards: tuple[ShardConfig, ...]
    cache_url: str = field(repr=False)
    analytics_url: str = field(repr=False)
    limits: Limits = Limits()
    master_keys: Mapping[int, bytes] = field(repr=False, hash=False, default_factory=dict[int, bytes])
    payments: Payments = Payments()
    housekeeping: Housekeeping = Housekeeping()


MASTER_KEY_BYTES = 32
_URL_KEYS = ("app_url", "owner_url", "worker_url", "readonly_url")
_WHOLE = ("pool_max_size", "prepared_statements_max")
_LIMITS = tuple(item.name for item in fields(Limits))
_PAYMENTS = tuple(item.name for item in fields(Payments))
_HOUSEKEEPING = tuple(item.name for item in fields(Housekeeping))
_PROVIDERS = ("sandbox", "stripe")
# Where its section would not be clear from the name of a setting, the name of its variable says it.
_VARIABLES = {"provider": "CLOUDLAB_PAYMENTS_PROVIDER"}


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the embedded stack: CLOUDLAB_STATE_DIR, or `.cloudlab` here."""
    return Path(environ.get("CLOUDLAB_STATE_DIR", STATE_DIR)).absolute()


def names_servers(environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether a file or the environment names the servers to use, so that no embedded stack is wanted."""
    file = Path(environ.get("CLOUDLAB_CONFIG", CONFIG_FILE))
    return "CLOUDLAB_CONFIG" in environ or "CLOUDLAB_CONTROL_APP_URL" in environ or file.exists()


def load(path: str | Path | None = None, *, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration of this installation.

    Args:
        path: A `cloudlab.toml`; by default CLOUDLAB_CONFIG, `./cloudlab.toml`, or the embedded stack that runs here.
        environ: Where the CLOUDLAB_ variables are read from.

    Raises:
        ConfigError: No configuration was found, or a key is missing, unknown or of the wrong type.
    """
    return _parse(_with_environment(_read(path, environ), environ))


def _read(path: str | Path | None, environ: Mapping[str, str]) -> dict[str, Any]:
    named = path or environ.get("CLOUDLAB_CONFIG")
    file = Path(named or CONFIG_FILE)
    if file.exists():
        try:
            return tomllib.loads(file.read_text())
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{file}: {error}") from error
    if named:
        raise ConfigError(f"{file} does not exist")
    runtime = state_dir(environ) / RUNTIME_FILE
    if runtime.exists():
        content: dict[str, Any] = json.loads(runtime.read_text())
        return cast(dict[str, Any], content["config"])
    if "CLOUDLAB_CONTROL_APP_URL" in environ:
        return {}
    raise ConfigError(
        f"no CloudLab here: neither {CONFIG_FILE} nor a running embedded stack in {runtime.parent}",
        hint="Run `cloudlab up` to start an embedded stack, or write cloudlab.toml.",
    )


def _with_environment(raw: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Lay CLOUDLAB_CONTROL_APP_URL, CLOUDLAB_SHARD_<NAME>_APP_URL, CLOUDLAB_CACHE_URL and the like over the file."""
    shards = _shards_named(raw, environ)
    control = dict(raw.get("control", {}))
    for key in _URL_KEYS:
        if value := environ.get(f"CLOUDLAB_CONTROL_{key.upper()}"):
            control[key] = value
    for shard in shards:
        for key in (*_URL_KEYS, "replica_url"):
            if value := environ.get(f"CLOUDLAB_SHARD_{str(shard.get('name')).upper()}_{key.upper()}"):
                shard[key] = value
    merged = raw | {"control": control, "shards": shards}
    for section in ("cache", "analytics"):
        if value := environ.get(f"CLOUDLAB_{section.upper()}_URL"):
            merged[section] = {"url": value}
    if text := environ.get("CLOUDLAB_MASTER_KEY"):
        merged["encryption"] = {"keys": dict(raw.get("encryption", {}).get("keys", {})) | _keys_named(text)}
    for section, names in (("limits", _LIMITS), ("payments", _PAYMENTS), ("housekeeping", _HOUSEKEEPING)):
        given = {name: environ.get(variable(name)) for name in names}
        merged[section] = dict(raw.get(section, {})) | {name: text for name, text in given.items() if text}
    return merged


def variable(setting: str) -> str:
    """Return the name of the environment variable of a limit, a payment setting or one of housekeeping."""
    return _VARIABLES.get(setting, f"CLOUDLAB_{setting.upper()}")


def _keys_named(text: str) -> dict[str, str]:
    """Read CLOUDLAB_MASTER_KEY: one key, which is version 1, or `1:key,2:key`."""
    if ":" not in text:
        return {"1": text}
    return {version.strip(): key for version, _, key in (entry.partition(":") for entry in text.split(","))}


def _master_keys(entry: dict[str, Any]) -> dict[int, bytes]:
    """Decode the master keys; what is wrong with one is said without showing it."""
    _known("encryption", entry, ("keys", "keys_file"))
    keys: dict[int, bytes] = {}
    for version, text in (_keys_of_file(entry.get("keys_file")) | entry.get("keys", {})).items():
        try:
            number, key = int(version), base64.b64decode(str(text), validate=True)
        except (ValueError, binascii.Error):
            number, key = 0, b""
        if number < 1 or len(key) != MASTER_KEY_BYTES:
            raise ConfigError(
                f"[encryption] key {version} must be a positive number and {MASTER_KEY_BYTES} bytes in base64",
                hint="Make one with `openssl rand -base64 32`.",
            )
        keys[number] = key
    return keys


def _keys_of_file(path: str | None) -> dict[str, str]:
    """Read a file of lines `1 = "key in base64"`: secrets are best kept apart from settings."""
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"[encryption] keys_file cannot be read: {error}") from error
    except tomllib.TOMLDecodeError:
        # Without the reason: it could quote a key.
        raise ConfigError(f"[encryption] keys_file {path} is no TOML", hint='Write lines such as 1 = "…".') from None


def _shards_named(raw: dict[str, Any], environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the shards of the file and those that CLOUDLAB_SHARDS (`name:region,…`) adds."""
    shards: list[dict[str, Any]] = [dict(shard) for shard in raw.get("shards", [])]
    known = {shard.get("name") for shard in shards}
    for entry in filter(None, environ.get("CLOUDLAB_SHARDS", "").split(",")):
        name, _, region = entry.strip().partition(":")
        if name not in known:
            shards.append({"name": name, "region": region})
    return shards


def _parse(raw: dict[str, Any]) -> Config:
    # [check] is for `cloudlab check`, which reads it itself.
    sections = ("control", "shards", "cache", "analytics", "limits", "encryption", "payments", "housekeeping", "check")
    _known("", raw, sections)
    shards = tuple(_shard(entry) for entry in raw["shards"])
    if not shards:
        raise ConfigError("there is no [[shards]] entry: a platform needs at least one shard")
    names = [shard.name for shard in shards]
    if len(set(names)) < len(names):
        raise ConfigError(f"two shards have the same name: {', '.join(names)}")
    return Config(
        control=_urls("control", raw["control"]),
        shards=shards,
        cache_url=_url("cache", raw.get("cache", {})),
        analytics_url=_url("analytics", raw.get("analytics", {})),
        limits=Limits(**_numbers("limits", raw["limits"], _LIMITS)),
        master_keys=_master_keys(raw.get("encryption", {})),
        payments=_payments(raw["payments"]),
        housekeeping=Housekeeping(**_numbers("housekeeping", raw["housekeeping"], _HOUSEKEEPING)),
    )


def _shard(entry: dict[str, Any]) -> ShardConfig:
    _known("shards", entry, ("name", "region", *_URL_KEYS, "replica_url"))
    for key in ("name", "region"):
        if not entry.get(key):
            raise ConfigError(f"a [[shards]] entry has no {key}")
    urls = {key: value for key, value in entry.items() if key in _URL_KEYS}
    return ShardConfig(
        entry["name"], entry["region"], _urls(f"shards.{entry['name']}", urls), entry.get("replica_url", "")
    )


def _urls(section: str, entry: dict[str, Any]) -> DatabaseUrls:
    _known(section, entry, _URL_KEYS)
    for key in _URL_KEYS:
        if not entry.get(key):
            raise ConfigError(f"[{section}] has no {key}")
    return DatabaseUrls(**entry)


def _url(section: str, entry: dict[str, Any]) -> str:
    _known(section, entry, ("url",))
    if not entry.get("url"):
        raise ConfigError(f"[{section}] has no url")
    return str(entry["url"])


def _payments(entry: dict[str, Any]) -> Payments:
    _known("payments", entry, _PAYMENTS)
    made = Payments(**{name: str(value) for name, value in entry.items()})
    if made.provider not in _PROVIDERS:
        raise ConfigError(f"[payments] provider {made.provider!r} is not known", hint=f"Use {' or '.join(_PROVIDERS)}.")
    if made.provider == "stripe" and not made.stripe_api_key:
        raise ConfigError("[payments] stripe_api_key is missing", hint="Stripe's dashboard shows the secret key.")
    return made


def _numbers(section: str, entry: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    _known(section, entry, names)
    values: dict[str, Any] = {}
    for name, text in entry.items():
        try:
            values[name] = int(text) if name in _WHOLE else float(text)
        except ValueError:
            raise ConfigError(f"[{section}] {name} must be a number, not {text!r}") from None
        if values[name] < 0 or (values[name] == 0 and name != "prepared_statements_max"):
            raise ConfigError(f"[{section}] {name} must be positive, not {text}")
    return values


def _known(section: str, entry: dict[str, Any], keys: Iterable[str]) -> None:
    keys = tuple(keys)
    for key in entry:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            raise ConfigError(f"[{section}] has no setting {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
