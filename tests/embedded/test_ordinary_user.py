"""The same stack started by root and by an ordinary user, and an `up` that is killed at any moment."""

import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import cloudlab
from cloudlab.embedded import accounts, homes, stack
from embedded.stacks import answers, processes_of

_UP = (
    "import asyncio, sys, pathlib as p; from cloudlab.embedded import stack; asyncio.run(stack.{}(p.Path(sys.argv[1])))"
)


@pytest.fixture
def ordinary() -> Iterator[tuple[accounts.Account, Path, dict[str, str], str]]:
    """An ordinary account, its home, and an interpreter with our packages that it can run."""
    if os.geteuid() != 0:
        pytest.skip("not root: all the other tests run as an ordinary user")
    entry = pwd.getpwnam("nobody")
    account = accounts.Account("nobody", entry.pw_uid, entry.pw_gid)
    wanted = f"python{sys.version_info.major}.{sys.version_info.minor}"
    places = [os.path.realpath(sys.executable), shutil.which(wanted, path="/usr/bin:/usr/local/bin")]
    python = next((found for found in places if found and accounts.can_reach(account, Path(found))), None)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    source = Path(cloudlab.__file__ or "").parent.parent
    if python is None or not accounts.can_reach(account, Path(packages)) or not accounts.can_reach(account, source):
        pytest.skip("no interpreter, or not our packages, that an ordinary user can reach")
    home = Path(tempfile.mkdtemp(prefix="cloudlab-user-", dir="/tmp"))
    (home / "async_timeout.py").write_text("from asyncio import timeout\n")  # Python before 3.11.3 has a client need it
    os.chown(home, account.uid, account.gid)
    environment = {"HOME": str(home), "PATH": os.defpath, "PYTHONPATH": f"{packages}:{source}:{home}"}
    yield account, home, environment, python
    shutil.rmtree(home)


def test_an_ordinary_user_has_everything_in_the_state_directory(
    ordinary: tuple[accounts.Account, Path, dict[str, str], str],
) -> None:
    account, folder, environment, python = ordinary
    state_dir = folder / "state"

    def run(verb: str) -> None:
        subprocess.run(
            [python, "-B", "-c", _UP.format(verb), str(state_dir)],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            env=environment,
            cwd="/",
            check=True,
        )

    run("up")
    try:
        lines = [process for process in psutil.process_iter() if process.uids().real == account.uid]
        assert len([p for p in lines if str(state_dir) in " ".join(p.cmdline())]) == 3
        assert {path.owner() for path in state_dir.rglob("*")} == {"nobody"}
        assert (folder / ".cache" / "cloudlab").is_dir()
        run("up")
    finally:
        run("down")
    mine = homes.Home(state_dir, state_dir, state_dir / "run", None)
    assert processes_of(mine) == []


async def test_an_up_that_is_killed_at_any_moment(state_dir: Path) -> None:
    """Whatever it was doing, the next one finishes the work, and two never run beside one another."""
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", _UP.format("up"), str(state_dir)], stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0.3, 1.2))
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert await answers(await stack.up(state_dir))
        servers = [line for line in processes_of(homes.resolve(state_dir)) if "postgres: " not in line]
        assert len(servers) == 3
        await stack.down(state_dir)
