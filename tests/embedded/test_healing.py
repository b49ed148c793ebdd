"""A stack after an accident: kill -9 of each part, of everything, stale files, foreign ports, interrupted starts."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import psutil
import psycopg
import pytest

from cloudlab.embedded import homes, postgres, processes, stack
from embedded.stacks import answers


def kill(pid: int) -> None:
    """Kill -9 and wait until the process is gone."""
    process = psutil.Process(pid)
    process.kill()
    with_deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < with_deadline
        time.sleep(0.005)


@pytest.mark.parametrize("name", ["postgres", "valkey", "clickhouse"])
async def test_a_killed_server_is_seen_and_started_again(running: Path, name: str) -> None:
    before = await stack.up(running)
    pids = {record.name: record.mark.pid for record in before.servers}
    kill(pids[name])
    states = {server.name: server.state for server in await stack.status(running)}
    assert states == dict.fromkeys(pids, "running") | {name: "crashed"}

    after = await stack.up(running)
    assert await answers(after)
    assert after.config == before.config
    changed = {record.name for record in after.servers if record.mark.pid != pids[record.name]}
    assert changed == {name}


async def test_a_killed_postgres_with_busy_backends(running: Path) -> None:
    """Backends outlive their server for a moment; nothing is started beside them, and nothing committed is lost."""
    runtime = await stack.up(running)
    url = runtime.config.control.owner_url
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS i")
        busy = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.1)
        kill(runtime.servers[0].mark.pid)
        after = await stack.up(running)
        with pytest.raises(psycopg.OperationalError):
            await busy
    async with await psycopg.AsyncConnection.connect(after.config.control.owner_url) as connection:
        assert await (await connection.execute("SELECT i FROM kept")).fetchone() == (1,)


async def test_a_killed_backend_is_postgres_own_affair(running: Path) -> None:
    """PostgreSQL restarts all backends then; up waits for that and starts nothing."""
    runtime = await stack.up(running)
    async with await psycopg.AsyncConnection.connect(runtime.config.control.app_url) as connection:
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while True:
                assert await stack.up(running) == runtime
                # Its server may notice the death only after up has looked.
                with contextlib.suppress(psycopg.OperationalError):
                    assert await answers(runtime)
                    break
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT 1")


async def test_a_server_that_nobody_can_reach(running: Path) -> None:
    """Somebody has tidied up the sockets: the servers run, and are started again."""
    before = await stack.up(running)
    for found in homes.resolve(running).socket_dir.iterdir():
        found.unlink()
    after = await stack.up(running)
    assert await answers(after)
    assert after.config == before.config


async def test_after_a_reboot(running: Path) -> None:
    """Everything is gone but the files, and the pids they name belong to others by now: to us, of all processes."""
    runtime = await stack.up(running)
    home = homes.resolve(running)
    for record in runtime.servers:
        kill(record.mark.pid)
    content = json.loads(home.runtime.read_text())
    for server in content["servers"].values():
        server["pid"] = os.getpid()
    home.runtime.write_text(json.dumps(content))
    pid_file = home.data_dir / "postgres" / "data" / "postmaster.pid"
    pid_file.write_text("\n".join([str(os.getppid()), *pid_file.read_text().splitlines()[1:]]))
    if home.socket_dir != home.data_dir / "run":
        shutil.rmtree(home.socket_dir)

    assert {server.state for server in await stack.status(running)} == {"crashed"}
    after = await stack.up(running)
    assert await answers(after)
    assert after.config == runtime.config


async def test_down_after_a_kill_touches_no_foreign_process(running: Path) -> None:
    """The pid written down is now that of this test: it must survive."""
    runtime = await stack.up(running)
    kill(runtime.servers[1].mark.pid)
    home = homes.resolve(running)
    content = json.loads(home.runtime.read_text())
    content["servers"]["valkey"] = content["servers"]["valkey"] | {
        "pid": os.getpid(),
        "created": psutil.Process().create_time(),
    }
    home.runtime.write_text(json.dumps(content))
    await stack.down(running)
    assert {server.state for server in await stack.status(running)} == {"stopped"}


async def test_lost_and_damaged_files(running: Path) -> None:
    """The processes tell the truth: without runtime.json, or with half of it, the running servers are found."""
    runtime = await stack.up(running)
    for damage in (lambda f: f.unlink(), lambda f: f.write_text('{"servers": {"pos')):
        damage(homes.resolve(running).runtime)
        assert await stack.up(running) == runtime


async def test_servers_whose_folder_was_deleted_are_stopped(state_dir: Path) -> None:
    await stack.up(state_dir)
    home = homes.resolve(state_dir)
    shutil.rmtree(state_dir)
    await stack.down(state_dir)
    names = ("postgres/data", "valkey/valkey.conf", "clickhouse")
    assert not [n for n in names if processes.find(processes.Identity((n.split("/")[0],), str(home.data_dir / n)))]
    assert await answers(await stack.up(state_dir))


async def test_busy_ports_are_no_problem(running: Path) -> None:
    """The ports of last time belong to others now: others are taken, and kept from then on."""
    before = await stack.up(running)
    await stack.down(running)
    taken: list[socket.socket] = []
    for record in before.servers:
        taken.append(socket.create_server(("127.0.0.1", record.port)))
    after = await stack.up(running)
    for one in taken:
        one.close()
    assert await answers(after)
    assert not {record.port for record in before.servers} & {record.port for record in after.servers}
    assert await stack.up(running) == after


async def test_a_first_start_that_was_interrupted(state_dir: Path) -> None:
    """Half a cluster, made by an initdb that was killed, is never taken for a whole one."""
    home = homes.resolve(state_dir)
    homes.create(home)
    half = home.data_dir / "postgres" / "data.new-dead"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    assert await answers(await stack.up(state_dir))
    assert not half.exists()


async def test_an_up_that_is_killed_leaves_something_the_next_can_use(running: Path) -> None:
    """Killed before it wrote anything down, its servers run nevertheless: they are found and kept."""
    runtime = await stack.up(running)
    home = homes.resolve(running)
    home.runtime.unlink()
    saved = json.loads(home.saved.read_text())
    home.saved.write_text(json.dumps(saved | {"ports": {}}))
    after = await stack.up(running)
    assert await answers(after)
    assert {r.name for r in after.servers} == {r.name for r in runtime.servers}


async def test_a_server_that_was_started_by_hand_is_not_fought(running: Path) -> None:
    runtime = await stack.up(running)
    await stack.down(running)
    home = homes.resolve(running)
    data_dir = home.data_dir / "postgres" / "data"
    binaries = postgres.find_binaries()
    by_hand = processes.Identity(("postgres",), "port=21999")
    mark = processes.spawn(
        [binaries.program("postgres"), "-D", str(data_dir), "-c", "port=21999"],
        log=home.logs / "hand.log",
        env=binaries.environment(processes.environment(data_dir)),
        account=home.account,
        identity=by_hand,
    )
    assert mark
    try:
        await asyncio.sleep(0.5)
        with pytest.raises(Exception, match=f"process {mark.pid} runs PostgreSQL on"):
            await stack.up(running)
        assert psutil.pid_exists(mark.pid)
        assert {server.state for server in await stack.status(running)} == {"stopped"}
    finally:
        processes.stop(mark, by_hand, [(signal.SIGINT, 20.0)])
    assert (await stack.up(running)).config == runtime.config
