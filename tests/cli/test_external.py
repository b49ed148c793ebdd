"""Servers of one's own, named in cloudlab.toml: PostgreSQL 15 as Debian packages it.

Standard: §1.1 Technology Stack
"""

import json
import os
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures.postgres import Cluster

CLOUDLAB = Path(sys.executable).parent / "cloudlab"


def table(urls: object) -> str:
    return "".join(f'{name} = "{getattr(urls, name)}"\n' for name in urls.__slots__)  # type: ignore[attr-defined]


@pytest.fixture
def home(postgres15: Cluster, valkey_url: str, empty_clickhouse_url: str, tmp_path: Path) -> Iterator[Path]:
    """A folder whose cloudlab.toml names an installation that nothing has migrated."""
    with postgres15.database("control") as control, postgres15.database("s1") as s1, postgres15.database("s2") as s2:
        shards = ((s1, "us_east_001", "us-east-1"), (s2, "eu_west_001", "eu-west-1"))
        (tmp_path / "cloudlab.toml").write_text(
            f"[control]\n{table(postgres15.urls(control))}"
            + "".join(
                f'[[shards]]\nname = "{name}"\nregion = "{region}"\n{table(postgres15.urls(database))}'
                for database, name, region in shards
            )
            + f'[cache]\nurl = "{valkey_url}"\n[analytics]\nurl = "{empty_clickhouse_url}"\n'
            + f'[encryption]\nkeys = {{1 = "{b64encode(b"1" * 32).decode()}"}}\n'
        )
        yield tmp_path


def cloudlab(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDLAB_")}
    return subprocess.run(
        [CLOUDLAB, *arguments], cwd=home, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_whole_demo_runs_on_servers_of_ones_own(home: Path):
    done = cloudlab(home, "demo", "--orders", "40", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["is_green"]
    assert report["orders"] == 80
    assert {each["id"] for each in report["invariants"]} == {"I1", "I2", "I3", "I4", "I5", "I11"}
    assert not (home / ".cloudlab").exists()


def test_commands_say_what_is_wrong_and_exit_accordingly(home: Path):
    migrated = cloudlab(home, "migrate", "up", "--json")
    assert migrated.returncode == 0, migrated.stderr
    assert cloudlab(home, "migrate", "verify").returncode == 0
    created = cloudlab(home, "tenant", "create", "acme", "--region", "eu-west-1", "--placement", "schema", "--json")
    assert json.loads(created.stdout)[0]["shard"] == "eu_west_001"
    again = cloudlab(home, "tenant", "create", "acme")
    assert (again.returncode, "there is a tenant acme" in again.stderr) == (1, True)
    unknown = cloudlab(home, "tenant", "show", "nobody", "--json")
    assert unknown.returncode == 2
    assert json.loads(unknown.stderr)["error"]["code"] == "CL200"
    assert cloudlab(home, "tenant", "create", "No Good").returncode == 2
    caught_up = cloudlab(home, "worker", "--until-caught-up", "--json")
    assert (caught_up.returncode, json.loads(caught_up.stdout)) == (0, {"events": 0})
    listed = json.loads(cloudlab(home, "projection", "list", "--json").stdout)
    assert {each["projection_name"] for each in listed} == {"order_facts", "product_cache", "product_sales"}
    assert cloudlab(home, "event", "tail").returncode == 0


def test_a_server_that_is_not_there_and_a_url_that_is_none(home: Path):
    text = (home / "cloudlab.toml").read_text()
    (home / "cloudlab.toml").write_text(
        "[limits]\npool_timeout_seconds = 1\n" + text.replace("port=", "port=1&options=")
    )
    nowhere = cloudlab(home, "tenant", "list")
    assert nowhere.returncode == 3, nowhere.stderr
    assert "did not accept a connection within 1 s" in " ".join(nowhere.stderr.split())
    (home / "cloudlab.toml").write_text(text.replace("host=", "hots="))
    malformed = cloudlab(home, "tenant", "list")
    assert malformed.returncode == 2
    assert "malformed" in malformed.stderr
    assert "not-a-secret" not in malformed.stderr
