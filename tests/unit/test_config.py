"""Where settings come from, and what is said about wrong ones."""

import ast
import base64
import json
from pathlib import Path

import pytest

import cloudlab
from cloudlab import config
from cloudlab.errors import ConfigError
from cloudlab.postgres.pool import secure

URLS = """
app_url = "postgresql://app:secret@db/x"
owner_url = "postgresql://owner:secret@db/x"
worker_url = "postgresql://worker:secret@db/x"
readonly_url = "postgresql://readonly:secret@db/x"
"""
GOOD = f"""
[control]
{URLS}
[[shards]]
name = "eu_west_001"
region = "eu-west-1"
{URLS}
[cache]
url = "redis://cache"
[analytics]
url = "http://ch/cloudlab"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "cloudlab.toml"
    path.write_text(text)
    return path


def test_a_file_is_read_and_keeps_its_secrets(tmp_path: Path):
    loaded = config.load(written(tmp_path, GOOD), environ={})
    assert loaded.shards[0].name == "eu_west_001"
    assert loaded.control.app_url == "postgresql://app:secret@db/x"
    assert "secret" not in repr(loaded)


def test_the_environment_wins(tmp_path: Path):
    environ = {
        "CLOUDLAB_CONTROL_APP_URL": "postgresql://other",
        "CLOUDLAB_SHARD_EU_WEST_001_OWNER_URL": "postgresql://own",
        "CLOUDLAB_CACHE_URL": "rediss://c",
        "CLOUDLAB_POOL_MAX_SIZE": "3",
    }
    loaded = config.load(written(tmp_path, GOOD), environ=environ)
    assert loaded.control.app_url == "postgresql://other"
    assert loaded.shards[0].urls.owner_url == "postgresql://own"
    assert (loaded.cache_url, loaded.limits.pool_max_size) == ("rediss://c", 3)


def test_an_installation_can_be_described_by_the_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    duties = ("APP", "OWNER", "WORKER", "READONLY")
    environ = {f"CLOUDLAB_CONTROL_{duty}_URL": "postgresql://c" for duty in duties}
    environ |= {f"CLOUDLAB_SHARD_S1_{duty}_URL": "postgresql://s" for duty in duties}
    environ |= {
        "CLOUDLAB_SHARDS": "s1:eu-west-1",
        "CLOUDLAB_CACHE_URL": "redis://c",
        "CLOUDLAB_ANALYTICS_URL": "http://a",
    }
    assert config.load(environ=environ).shards[0].region == "eu-west-1"


def test_the_embedded_stack_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    raw = {"control": {f"{duty}_url": "postgresql://c" for duty in ("app", "owner", "worker", "readonly")}}
    raw |= {
        "shards": [{"name": "s", "region": "r", **raw["control"]}],
        "cache": {"url": "c"},
        "analytics": {"url": "a"},
    }
    (tmp_path / ".cloudlab").mkdir()
    (tmp_path / ".cloudlab" / "runtime.json").write_text(json.dumps({"config": raw}))
    assert config.load(environ={}).shards[0].name == "s"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[cache]", "[cash]", "did you mean 'cache'"),
        ("app_url", "apurl", "did you mean 'app_url'"),
        ('region = "eu-west-1"', "", "no region"),
        ('url = "redis://cache"', "", r"\[cache\] has no url"),
        ("[analytics]", "[limits]\npool_max_size = 0\n[analytics]", "pool_max_size must be positive"),
        ("[analytics]", '[limits]\nlock_timeout_seconds = "soon"\n[analytics]', "must be a number, not 'soon'"),
        ("[control]", "[control", "cloudlab.toml"),
        ("[analytics]", '[payments]\nprovider = "cash"\n[analytics]', "'cash' is not known"),
        ("[analytics]", '[payments]\nprovider = "stripe"\n[analytics]', "stripe_api_key is missing"),
        ("[analytics]", "[housekeeping]\nsaga_days = 0\n[analytics]", r"\[housekeeping\] saga_days must be positive"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(tmp_path: Path, old: str, new: str, said: str):
    with pytest.raises(ConfigError, match=said):
        config.load(written(tmp_path, GOOD.replace(old, new, 1)), environ={})


def test_nothing_at_all_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no CloudLab here") as refused:
        config.load(environ={})
    assert "cloudlab up" in refused.value.hint
    with pytest.raises(ConfigError, match="does not exist"):
        config.load(tmp_path / "missing.toml", environ={})


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("postgresql://db.example/x", "verify-full"),
        ("postgresql://10.0.0.8/x", "verify-full"),
        ("postgresql://db.example/x?sslmode=require", "require"),
        ("postgresql://127.0.0.1/x", None),
        ("host=/tmp dbname=x", None),
    ],
)
def test_a_server_elsewhere_is_verified(url: str, mode: str | None):
    found = dict(part.split("=", 1) for part in secure(url).split())
    assert found.get("sslmode") == mode


def test_every_connection_of_the_package_verifies_its_server():
    opened = {
        f"{path.name}:{call.lineno}": ast.unparse(call)
        for path in Path(cloudlab.__file__).parent.rglob("*.py")
        if path.parent.name != "embedded"
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("Connection.connect", "AsyncConnection.connect")
    }
    assert len(opened) >= 3
    assert {where: call for where, call in opened.items() if "secure(" not in call} == {}


KEYS = base64.b64encode(b"1" * 32).decode(), base64.b64encode(b"2" * 32).decode()


def test_master_keys_come_from_the_file_and_the_environment_and_are_never_shown(tmp_path: Path):
    assert config.load(written(tmp_path, GOOD), environ={}).master_keys == {}
    path = written(tmp_path, f'{GOOD}\n[encryption]\nkeys = {{1 = "{KEYS[0]}"}}\n')
    loaded = config.load(path, environ={})
    assert loaded.master_keys == {1: b"1" * 32}
    assert KEYS[0] not in repr(loaded)
    assert str(b"1" * 32) not in repr(loaded)
    assert config.load(path, environ={"CLOUDLAB_MASTER_KEY": KEYS[1]}).master_keys == {1: b"2" * 32}
    added = config.load(path, environ={"CLOUDLAB_MASTER_KEY": f"2:{KEYS[1]}"})
    assert added.master_keys == {1: b"1" * 32, 2: b"2" * 32}


@pytest.mark.parametrize("wrong", ["c2VjcmV0", "not base64!", f"0:{KEYS[0]}", f"x:{KEYS[0]}", f"1:{KEYS[0]},"])
def test_a_master_key_that_is_none_is_refused_without_showing_it(tmp_path: Path, wrong: str):
    with pytest.raises(ConfigError, match=r"\[encryption\] key") as refused:
        config.load(written(tmp_path, GOOD), environ={"CLOUDLAB_MASTER_KEY": wrong})
    assert wrong not in str(refused.value)
    assert KEYS[0] not in str(refused.value)


def test_the_payment_provider_comes_from_the_file_or_the_environment_and_its_keys_are_never_shown(tmp_path: Path):
    assert config.load(written(tmp_path, GOOD), environ={}).payments.provider == "sandbox"
    named = {"CLOUDLAB_PAYMENTS_PROVIDER": "stripe", "CLOUDLAB_STRIPE_API_KEY": "sk_1"}
    loaded = config.load(written(tmp_path, f'{GOOD}\n[payments]\nstripe_webhook_secret = "whsec_1"\n'), environ=named)
    assert (loaded.payments.stripe_api_key, loaded.payments.stripe_webhook_secret) == ("sk_1", "whsec_1")
    assert "sk_1" not in repr(loaded)
    assert "whsec_1" not in repr(loaded)
