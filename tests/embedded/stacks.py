"""Stacks in folders of their own, and proof that nothing of them is left behind."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import clickhouse_connect
import psutil
import psycopg
from valkey import Valkey

from cloudlab.embedded import homes, stack
from cloudlab.embedded.runtime import Runtime


@contextlib.contextmanager
def stack_folder(mode: int = 0o755) -> Iterator[Path]:
    """Yield a folder for a stack, with its parent's permissions; purge it and prove that nothing is left."""
    parent = Path(tempfile.mkdtemp(prefix="cloudlab-stack-", dir="/tmp"))
    parent.chmod(mode)
    state_dir = parent / "state"
    home = homes.resolve(state_dir)
    try:
        yield state_dir
    finally:
        asyncio.run(stack.down(state_dir, purge=True))
        assert processes_of(home) == []
        assert not home.data_dir.exists()
        assert not home.socket_dir.exists()
        shutil.rmtree(parent)


def processes_of(home: homes.Home) -> list[str]:
    """Return the command lines that name the folders of a stack, and the backends that work in them."""
    found: list[str] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            if process.status() != psutil.STATUS_ZOMBIE and (
                f"{home.data_dir}/" in line or process.cwd().startswith(f"{home.data_dir}/")
            ):
                found.append(line)
    return found


async def answers(runtime: Runtime) -> bool:
    """Use each server of a stack through the URLs it hands out."""
    config = runtime.config
    for urls in (config.control, *(shard.urls for shard in config.shards)):
        for url in (urls.app_url, urls.owner_url, urls.worker_url, urls.readonly_url):
            async with await psycopg.AsyncConnection.connect(url) as connection:
                await connection.execute("SELECT 1")
    with Valkey.from_url(config.cache_url) as cache:
        assert cache.ping()
    client = clickhouse_connect.get_client(dsn=config.analytics_url)
    assert client.command("SELECT currentDatabase()") == "cloudlab"
    client.close()
    return True
