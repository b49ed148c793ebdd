"""The life of a stack: from nothing, from all well, down, and again."""

import asyncio
import json
import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import psutil
import psycopg
import pytest

from cloudlab import config as configuration
from cloudlab.embedded import homes, stack
from cloudlab.embedded.runtime import DEFAULT_SHARDS
from cloudlab.errors import EmbeddedError
from embedded.stacks import answers, processes_of

ROOT = os.geteuid() == 0


async def test_up_again_and_down(state_dir: Path) -> None:
    """The first up makes everything, the second changes nothing, down leaves nothing running and keeps the data."""
    said: list[str] = []
    first, *others = await asyncio.gather(
        stack.up(state_dir, progress=said.append), *(stack.up(state_dir) for _ in range(3))
    )
    assert others == [first] * 3  # four at once start one stack
    servers = [line for line in processes_of(homes.resolve(state_dir)) if "postgres: " not in line]
    assert len(servers) == len(said) == 3, said
    assert await answers(first)
    assert [(shard.name, shard.region) for shard in first.config.shards] == list(DEFAULT_SHARDS)
    written = (state_dir / "runtime.json").stat().st_mtime_ns

    assert await stack.up(state_dir) == first
    assert (state_dir / "runtime.json").stat().st_mtime_ns == written

    statuses = await stack.status(state_dir)
    assert [server.state for server in statuses] == ["running"] * 3
    assert all(server.memory_bytes > 1 << 20 and server.version and server.address for server in statuses)

    async with await psycopg.AsyncConnection.connect(first.config.control.owner_url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE kept (i int)")
    await stack.down(state_dir)
    assert processes_of(homes.resolve(state_dir)) == []
    assert [server.state for server in await stack.status(state_dir)] == ["stopped"] * 3
    assert not (state_dir / "runtime.json").exists()

    again = await stack.up(state_dir)
    assert again.config == first.config  # the same ports and secrets, for they were free
    async with await psycopg.AsyncConnection.connect(again.config.control.owner_url) as connection:
        await connection.execute("SELECT * FROM kept")


async def test_the_configuration_is_found_and_kept_secret(running: Path) -> None:
    runtime = await stack.up(running)
    assert configuration.load(environ={"CLOUDLAB_STATE_DIR": str(running)}) == runtime.config
    home = homes.resolve(running)
    for secret in (home.runtime, home.saved):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.socket_dir.stat().st_mode) == 0o700
    passwords = json.loads(home.saved.read_text())["secrets"].values()
    assert len(set(passwords)) == len(passwords)
    assert all(len(password) >= 32 for password in passwords)
    arguments = " ".join(str(process.info["cmdline"]) for process in psutil.process_iter(["cmdline"]))
    assert not any(password in arguments for password in passwords)
    assert not any(password in str(runtime) for password in passwords)


async def test_a_new_master_key_stands_beside_the_old_one(running: Path) -> None:
    before = (await stack.up(running)).config.master_keys
    assert await stack.new_master_key(running) == max(before) + 1
    after = configuration.load(environ={"CLOUDLAB_STATE_DIR": str(running)}).master_keys
    assert {version: after[version] for version in before} == before
    assert len(after) == len(before) + 1
    assert len(set(after.values())) == len(after)
    assert (await stack.up(running)).config.master_keys == after
    with pytest.raises(EmbeddedError, match="no stack runs"):
        await stack.new_master_key(running / "nowhere")


async def test_everything_listens_on_loopback_only(running: Path) -> None:
    await stack.up(running)
    for server in await stack.status(running):
        assert server.pid
        listening = [c.laddr.ip for c in psutil.Process(server.pid).net_connections("inet") if c.status == "LISTEN"]
        assert listening == ["127.0.0.1"]


@pytest.mark.skipif(not ROOT, reason="only root hands its servers to another account")
async def test_no_server_keeps_the_rights_of_root(running: Path) -> None:
    runtime = await stack.up(running)
    for server in await stack.status(running):
        process = psutil.Process(server.pid)
        assert 0 not in process.uids()
        assert 0 not in process.gids()
    url = urlsplit(runtime.config.analytics_url)
    client = clickhouse_connect.get_client(dsn=url.geturl())
    with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match="Permission denied"):
        client.command("SELECT * FROM file('/etc/shadow', 'LineAsString')")
    client.close()


@pytest.mark.skipif(not ROOT, reason="an ordinary user's servers walk where the user walks")
async def test_data_moves_out_of_a_folder_the_account_cannot_reach(tmp_path: Path) -> None:
    """As root below /root or in a private temporary folder: up just works, and says where the data is."""
    tmp_path.chmod(0o700)
    state_dir = tmp_path / "state"
    try:
        runtime = await stack.up(state_dir)
        assert await answers(runtime)
        data_dir = Path((state_dir / "data-directory").read_text().strip())
        assert data_dir.parent == homes.SERVER_ROOT
        await stack.down(state_dir)
        # The state directory is lost, not the data: secrets stand with the data, so it is taken up again.
        await asyncio.to_thread(lambda: [f.unlink() for f in state_dir.iterdir() if f.is_file()])
        for log in (state_dir / "logs").iterdir():
            log.unlink()
        (state_dir / "logs").rmdir()
        assert (await stack.up(state_dir)).config == runtime.config
    finally:
        await stack.down(state_dir, purge=True)
    assert not data_dir.exists()


async def test_shards_are_added_and_never_moved(running: Path) -> None:
    before = [shard.name for shard in (await stack.up(running)).config.shards]
    runtime = await stack.up(running, shards=[("ap_south_001", "ap-south-1")])
    assert [shard.name for shard in runtime.config.shards] == [*before, "ap_south_001"]
    assert await answers(runtime)
    assert await stack.up(running) == runtime
    with pytest.raises(EmbeddedError, match="stands in region ap-south-1"):
        await stack.up(running, shards=[("ap_south_001", "eu-west-1")])
    for name in ("postgres", "Upper", "cloudlab_control", "a-b", "1st", "x" * 49):
        with pytest.raises(EmbeddedError, match="cannot be the name of a shard"):
            await stack.up(running, shards=[(name, "eu-west-1")])


async def test_a_path_of_any_length_and_with_any_character(state_dir: Path) -> None:
    folder = state_dir.parent / 'it\'s "100 %" <a&b>, ž?x=1' / ("long" * 20)
    try:
        assert await answers(await stack.up(folder))
        assert len(os.fsencode(homes.resolve(folder).socket_dir)) < 80
    finally:
        await stack.down(folder, purge=True)


async def test_down_without_a_stack_is_nothing(tmp_path: Path) -> None:
    await stack.down(tmp_path / "nothing")
    await stack.down(tmp_path / "nothing", purge=True)
    assert not (tmp_path / "nothing").exists()


async def test_purge_deletes_only_what_is_ours(tmp_path: Path) -> None:
    mine = tmp_path / "letter.txt"
    mine.write_text("dear Ada")
    await stack.down(tmp_path, purge=True)
    assert mine.exists()
    with pytest.raises(EmbeddedError, match="holds other things"):
        await stack.up(tmp_path)
    assert mine.exists()
