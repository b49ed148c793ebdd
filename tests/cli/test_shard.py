"""`cloudlab shard` and `cloudlab tenant move | find | claim | purge`, as scripts and people meet them.

Standard: §7.2 Tenant-Based Sharding, §4.2 Tenant Configuration
"""

import json
import os
import pty
import subprocess
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.shop import catalog
from cloudlab.values import Money
from fixtures.commands import CLOUDLAB, cloudlab, write_config
from fixtures.postgres import Cluster

EAST, WEST = "us_east_001", "eu_west_001"
# 50 shows how long an operator waits; four show that it works.
TENANTS = int(os.environ.get("CLOUDLAB_TEST_DRAIN_TENANTS", "4"))


@pytest.fixture
def config(config: Config) -> Config:
    """Both shards in one region."""
    return replace(config, shards=tuple(replace(shard, region="eu-west-1") for shard in config.shards))


@pytest.fixture
async def home(config: Config, tmp_path: Path) -> Path:
    """A folder to run commands in, with tenants on one of two shards."""
    write_config(config, tmp_path)
    async with Platform.open(config) as platform:
        first = await platform.create_tenant("first")
        with psycopg.connect(config.control.owner_url, autocommit=True) as control:
            control.execute("UPDATE cloudlab.shards SET is_active = shard_name = %s", [WEST])
        if first.shard != WEST:
            await platform.move_tenant(first, to_shard=WEST)
        for number in range(1, TENANTS):
            placement = "schema" if number % 2 else "row"
            tenant = await platform.create_tenant(f"t{number}", placement=placement)
            async with platform.session(tenant) as s:
                await catalog.add(s, sku="P", name="Lamp", price=Money("1", "EUR"), stock=1)
        with psycopg.connect(config.control.owner_url, autocommit=True) as control:
            control.execute("UPDATE cloudlab.shards SET is_active = true")
    return tmp_path


def said(folder: Path, *arguments: object, code: int = 0):
    """Run a command with --json and return what it printed, or the error it showed."""
    done = cloudlab(folder, *arguments, "--json", timeout_seconds=600)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout or done.stderr)


def held(folder: Path) -> dict[str, int]:
    return {shard["name"]: shard["tenants"] for shard in said(folder, "shard", "list")}


def test_a_shard_is_drained_with_a_bar_and_filled_again(home: Path):
    assert held(home) == {EAST: 0, WEST: TENANTS}
    plan = said(home, "shard", "drain", WEST, "--plan")
    assert {(step["source"], step["target"]) for step in plan} == {(WEST, EAST)}
    assert held(home) == {EAST: 0, WEST: TENANTS}
    assert "nowhere" in said(home, "shard", "drain", "nowhere", code=2)["error"]["message"]
    bar = with_a_terminal(home, "shard", "drain", WEST)
    assert "tenants" in bar
    assert "100%" in bar
    assert held(home) == {EAST: TENANTS, WEST: 0}
    assert [shard["is_active"] for shard in said(home, "shard", "list")] == [False, True]
    assert said(home, "shard", "drain", WEST) == []
    assert said(home, "shard", "rebalance", "--plan") == []
    assert cloudlab(home, "shard", "activate", WEST).returncode == 0
    half = TENANTS // 2
    assert len(said(home, "shard", "rebalance", "--plan")) == half
    moved = said(home, "shard", "rebalance")
    assert {(move["source"], move["target"], move["state"]) for move in moved} == {(EAST, WEST, "grace")}
    assert held(home) == {EAST: TENANTS - half, WEST: half}


def with_a_terminal(folder: Path, *arguments: str) -> str:
    """Run a command whose standard error is a terminal; return what it wrote there."""
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDLAB_")}
    with subprocess.Popen(
        [CLOUDLAB, *arguments],
        cwd=folder,
        env=inherited | {"TERM": "xterm", "COLUMNS": "80", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        written = b""
        while True:
            try:
                written += os.read(ours, 65536)
            except OSError:  # the other side is closed: it has ended
                break
        assert process.wait() == 0, written.decode()
    os.close(ours)
    return written.decode()


def test_a_query_goes_everywhere_and_names_who_does_not_answer(home: Path, config: Config):
    found = said(home, "shard", "query", "SELECT count(*) FROM products")
    assert found["complete"]
    assert {answer["shard"] for answer in found["answers"]} == {EAST, WEST}
    one = said(home, "shard", "query", "SELECT 1", "--shard", EAST, "--shared-only")
    assert [answer["shard"] for answer in one["answers"]] == [EAST]
    broken = said(home, "shard", "query", "SELECT nothing", code=3)
    assert not broken["complete"]


def test_a_tenant_is_planned_moved_and_finished(home: Path):
    plan = said(home, "tenant", "move", "t1", "--to", EAST, "--plan")
    assert (plan["source"], plan["target"], plan["in_the_way"]) == (WEST, EAST, [])
    assert plan["rows"] > 0
    assert "lives on" in said(home, "tenant", "move", "t1", "--to", WEST, code=2)["error"]["message"]
    assert "exclude" in said(home, "tenant", "move", "t1", "--plan", "--abort", code=2)["error"]["message"]
    assert "no move" in said(home, "tenant", "move", "t1", "--abort", code=1)["error"]["message"]
    done = said(home, "tenant", "move", "t1", "--to", EAST, "--full-speed")
    assert (done["state"], done["target"]) == ("grace", EAST)
    assert float(done["gap_ms"]) > 0
    assert said(home, "tenant", "move", "t1", "--finish")["deleted_rows"] >= 0
    assert "t1: us_east_001" in cloudlab(home, "tenant", "move", "t1", "--to", WEST, "--plan").stdout


async def test_a_new_shard_is_added_and_takes_tenants(home: Path, config: Config, postgres: Cluster):
    with postgres.database("third") as name:
        third = replace(config.shards[0], name="eu_west_003", urls=postgres.urls(name))
        assert "names no shard eu_west_003" in said(home, "shard", "add", "eu_west_003", code=2)["error"]["message"]
        write_config(replace(config, shards=(*config.shards, third)), home)
        planned = said(home, "shard", "add", "eu_west_003", "--plan")
        assert planned["migrations"] > 20
        assert not planned["added"]
        assert "eu_west_003" not in {shard["name"] for shard in said(home, "shard", "list")}
        added = said(home, "shard", "add", "eu_west_003")
        assert (added["migrations"], added["missing_for_moves"]) == (planned["migrations"], None)
        assert said(home, "shard", "add", "eu_west_003")["migrations"] == 0
        assert "eu_west_003" in {shard["name"] for shard in said(home, "shard", "list")}
        assert [tenant["shard"] for tenant in said(home, "tenant", "create", "newest")] == ["eu_west_003"]


def test_domains_are_claimed_and_found_and_dropped_tenants_deleted(home: Path):
    key = {"CLOUDLAB_MASTER_KEY": b64encode(b"1" * 32).decode()}
    assert cloudlab(home, "tenant", "claim", "t1", "acme.example", **key).returncode == 0
    assert cloudlab(home, "tenant", "claim", "t2", "acme.example", **key).returncode != 0
    found = cloudlab(home, "tenant", "find", "--domain", "ada@acme.example", "--json", **key)
    assert [tenant["tenant_name"] for tenant in json.loads(found.stdout)] == ["t1"]
    assert cloudlab(home, "tenant", "claim", "t1", "acme.example", "--release", **key).returncode == 0
    assert json.loads(cloudlab(home, "tenant", "find", "--domain", "acme.example", "--json", **key).stdout) == []
    assert said(home, "tenant", "find", "--order", "A-1") == []
    assert "one of the two" in said(home, "tenant", "find", code=2)["error"]["hint"]
    assert said(home, "tenant", "purge") == []
    said(home, "tenant", "drop", "t2", "--no-export", "--grace-days", 0)
    (gone,) = said(home, "tenant", "purge")
    assert (gone["tenant_name"], bool(gone["finished_at"])) == ("t2", True)
    assert "t2" not in {tenant["tenant_name"] for tenant in said(home, "tenant", "list")}
