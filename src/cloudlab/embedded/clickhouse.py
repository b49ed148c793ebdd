"""Start and stop the ClickHouse owner process: see clickhouse_owner for what it is."""

import base64
import http.client
import importlib.util
import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import psutil

from cloudlab.embedded import processes
from cloudlab.embedded.accounts import Account
from cloudlab.embedded.homes import private, write_private
from cloudlab.embedded.network import free_port, is_free
from cloudlab.embedded.processes import Identity, Mark
from cloudlab.errors import EmbeddedError

USER, DATABASE = "cloudlab", "cloudlab"
_BOOT = Path(__file__).with_name("clickhouse_boot.py")
_PATIENCE_SECONDS = 30.0
_STOP = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 5.0))
# Caps for a process that shares its machine with two other servers and the application. Fewer merge threads than the
# merge settings expect would stop mutations, so those are lowered with them.
_CONFIGURATION = """\
<clickhouse>
    <timezone>UTC</timezone>
    <max_server_memory_usage>{memory_bytes}</max_server_memory_usage>
    <mark_cache_size>67108864</mark_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>
    <background_pool_size>4</background_pool_size>
    <background_schedule_pool_size>8</background_schedule_pool_size>
    <user_files_path>{folder}/files/</user_files_path>
    <merge_tree>
        <number_of_free_entries_in_pool_to_execute_mutation>2</number_of_free_entries_in_pool_to_execute_mutation>
        <number_of_free_entries_in_pool_to_lower_max_size_of_merge>2</number_of_free_entries_in_pool_to_lower_max_size_of_merge>
        <number_of_free_entries_in_pool_to_execute_optimize_entire_partition>2</number_of_free_entries_in_pool_to_execute_optimize_entire_partition>
    </merge_tree>
</clickhouse>
"""


@dataclass(frozen=True, slots=True)
class ClickHouseServer:
    """A running owner process: which process it is and where it listens."""

    port: int
    mark: Mark

    def url(self, password: str) -> str:
        """Return the URL for clickhouse-connect."""
        return f"http://{USER}:{password}@127.0.0.1:{self.port}/{DATABASE}"


def identity(folder: Path) -> Identity:
    """Return how the owner of this data folder is recognised among all processes."""
    return Identity((_BOOT.name,), str(folder))


def check_installed() -> None:
    """Raise EmbeddedError when the engine is not installed; it is not loaded for that."""
    if importlib.util.find_spec("chdb") is None:
        raise EmbeddedError(
            "the package chdb-core, the ClickHouse engine, is not installed",
            hint="Install it with `pip install 'cloudlab[embedded]'`, or name a ClickHouse server in cloudlab.toml.",
        )


def start(
    folder: Path,
    *,
    log: Path,
    password: str,
    port: int | None = None,
    account: Account | None = None,
    timeout_seconds: float = 60.0,
) -> ClickHouseServer:
    """Start the owner process and wait until it answers.

    Started by root it gives root up for good once its code is loaded, which may stand where only root can read.

    Raises:
        EmbeddedError: It did not start; the details carry the end of its log.
    """
    check_installed()
    for _ in range(3):
        port = free_port(port)
        _write_configuration(folder, port, password, account)
        mark = processes.spawn(
            [sys.executable, "-P", str(_BOOT), str(folder)],
            log=log,
            env=_environment(folder),
            identity=identity(folder),
        )
        if mark and _wait_ready(folder, mark, port, timeout_seconds):
            return ClickHouseServer(port, mark)
        if is_free(port):
            break
    raise EmbeddedError(f"ClickHouse did not start on {folder}", details=processes.log_tail(log))


def _environment(folder: Path) -> dict[str, str]:
    """Return the owner's environment; its temporary folders stand with its data, where a killed one's are found."""
    for leftover in folder.glob("clickhouse-embedded-*"):
        shutil.rmtree(leftover)
    python_path = os.environ.get("PYTHONPATH")
    more = {"TMPDIR": str(folder)} | ({"PYTHONPATH": python_path} if python_path else {})
    return processes.environment(folder) | more


def _write_configuration(folder: Path, port: int, password: str, account: Account | None) -> None:
    memory_bytes = min(2 << 30, psutil.virtual_memory().total // 4)
    text = _CONFIGURATION.format(memory_bytes=memory_bytes, folder=escape(str(folder)))
    write_private(folder / "config.xml", text, account)
    private(folder / "data", account)
    options = {
        "port": port,
        "user": USER,
        "password": password,
        "concurrency": max(8, 2 * (os.cpu_count() or 1)),
        "uid": account.uid if account else None,
        "gid": account.gid if account else None,
    }
    # The secret stays root's: it is read before root is given up.
    write_private(folder / "owner.json", json.dumps(options))


def _wait_ready(folder: Path, mark: Mark, port: int, timeout_seconds: float) -> bool:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if ping(port):
            return True
        if not processes.alive(mark, identity(folder)):
            return False
        time.sleep(0.01)
    stop(folder, mark)
    return False


def ping(port: int) -> str:
    """Return the version of the owner process that answers there, "" when none does.

    It takes no turn among the statements: a busy server answers at once.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", "/ping")
        response = connection.getresponse()
        response.read()
        return response.headers.get("X-ClickHouse-Version", "")
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def call(port: int, password: str, statement: str) -> str:
    """Run one statement and return its text: enough to see that it is well without loading a client library.

    Raises:
        OSError: Nobody answers there.
        EmbeddedError: It answers with an error.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
    try:
        token = base64.b64encode(f"{USER}:{password}".encode()).decode()
        connection.request("POST", "/", statement.encode(), {"Authorization": f"Basic {token}"})
        response = connection.getresponse()
        text = response.read().decode().strip()
    except http.client.HTTPException as error:
        raise OSError(f"no ClickHouse answers on port {port}: {error}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise EmbeddedError(f"ClickHouse on port {port}: {text}")
    return text


def stop(folder: Path, mark: Mark) -> None:
    """Stop the owner: running statements may finish, then the data is closed. No-op when it is gone."""
    processes.stop(mark, identity(folder), _STOP)
