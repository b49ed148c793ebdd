"""The owner process: the only one that opens the ClickHouse data, serving it to all others over HTTP on loopback.

chdb lets one process open a data path. This process does; the API, the workers and the command line reach it with an
ordinary ClickHouse client. It is started by `cloudlab up` with the folder that holds its `owner.json`.

Nothing here may import the rest of CloudLab: its database drivers would add 40 MiB to a process that runs all day.
"""

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from cloudlab.embedded.clickhouse_engine import Engine
from cloudlab.embedded.clickhouse_http import Server

_DRAIN_SECONDS = 20.0


class _Stop(BaseException):
    """SIGTERM or SIGINT has come."""


def main(folder: str) -> int:
    """Serve until SIGTERM, then finish the running statements and close the data cleanly."""
    os.umask(0o077)
    home = Path(folder)
    options: dict[str, Any] = json.loads((home / "owner.json").read_text())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    _drop_privileges(options.get("uid"), options.get("gid"))
    os.chdir(home)
    # Relative, so that no character of the folder's name can be taken for a part of chdb's connection string.
    engine = Engine("data", "config.xml", options["concurrency"])
    try:
        # Refreshable views and exchanges of tables need ENGINE = Atomic; the database `default` is not.
        engine.execute("CREATE DATABASE IF NOT EXISTS cloudlab ENGINE = Atomic")
        server = Server(options["port"], engine, options["user"], options["password"])
        server.serve_forever(poll_interval=1.0)
    except _Stop:
        pass
    finally:
        engine.close(_DRAIN_SECONDS)
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    """Leave the accept loop at once: raised from the handler, no poll interval is waited for."""
    for again in (signal.SIGTERM, signal.SIGINT):
        signal.signal(again, signal.SIG_IGN)
    raise _Stop


def _drop_privileges(uid: int | None, gid: int | None) -> None:
    """Give up root for good: ClickHouse can read files and open connections on behalf of whoever may query it."""
    if uid is not None and gid is not None and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)


if __name__ == "__main__":
    # Threads of the engine may still wait; the data is closed, so nothing is lost by not waiting for them.
    code = main(sys.argv[1])
    sys.stderr.flush()
    os._exit(code)
