"""What cannot work is said clearly, with a remedy, and leaves nothing running."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from cloudlab.embedded import accounts, homes, stack
from cloudlab.errors import EmbeddedError
from embedded.stacks import processes_of

ROOT = os.geteuid() == 0


async def refused(state_dir: Path, message: str) -> EmbeddedError:
    with pytest.raises(EmbeddedError, match=message) as caught:
        await stack.up(state_dir)
    assert caught.value.hint
    assert processes_of(homes.resolve(state_dir)) == []
    return caught.value


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("CLOUDLAB_PG_BIN", "/nowhere", "/nowhere/postgres cannot be run: No such file"),
        ("CLOUDLAB_VALKEY_BIN", "/nowhere/valkey-server", "is not a program"),
        ("CLOUDLAB_OS_USER", "nobody-of-this-name", "no unprivileged account"),
        ("CLOUDLAB_OS_USER", "root", "no unprivileged account"),
    ],
)
async def test_missing_programs_and_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str
) -> None:
    if variable == "CLOUDLAB_OS_USER" and not ROOT:
        pytest.skip("only root hands its servers to another account")
    monkeypatch.setenv(variable, value)
    await refused_early(tmp_path / "state", message)


async def refused_early(state_dir: Path, message: str) -> None:
    with pytest.raises(EmbeddedError, match=message) as caught:
        await stack.up(state_dir)
    assert caught.value.hint
    assert not state_dir.exists()


async def test_programs_that_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text, message in (
        ("#!/bin/sh\necho lib missing >&2; exit 127\n", "does not run"),
        ("#!/bin/sh\necho postgres 14.2\n", "15 or later is needed"),
    ):
        folder = tmp_path / message.replace(" ", "-")
        folder.mkdir()
        (folder / "postgres").write_text(text)
        (folder / "postgres").chmod(0o755)
        monkeypatch.setenv("CLOUDLAB_PG_BIN", str(folder))
        await refused_early(tmp_path / "state", message)


async def test_a_disk_that_is_nearly_full(state_dir: Path) -> None:
    with pytest.raises(EmbeddedError, match="MiB of free disk space"):
        await stack.up(state_dir, minimum_free_bytes=1 << 60)
    assert processes_of(homes.resolve(state_dir)) == []


@pytest.mark.skipif(not ROOT, reason="mounting a small disk needs root")
async def test_a_disk_that_fills_up_meanwhile(tmp_path: Path) -> None:
    """The space is there when it is asked for, and gone while initdb writes."""
    disk = Path(tempfile.mkdtemp(prefix="cloudlab-disk-", dir="/tmp"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=755", "none", disk], capture_output=True, check=False
    )
    try:
        if mounted.returncode:
            pytest.skip(f"mount: {mounted.stderr.decode()}")
        with pytest.raises(EmbeddedError) as caught:
            await stack.up(disk / "state", minimum_free_bytes=0)
        assert "No space left on device" in caught.value.details
        assert processes_of(homes.resolve(disk / "state")) == []
        await stack.down(disk / "state", purge=True)
    finally:
        subprocess.run(["umount", disk], capture_output=True, check=False)
        disk.rmdir()


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    await refused_at(tmp_path / "file" / "state", "Not a directory")
    if not ROOT:
        tmp_path.chmod(0o500)
        await refused_at(tmp_path / "state", "Permission denied")
        tmp_path.chmod(0o700)


async def refused_at(state_dir: Path, message: str) -> None:
    with pytest.raises(EmbeddedError, match=message) as caught:
        await stack.up(state_dir)
    assert "CLOUDLAB_STATE_DIR" in caught.value.hint


@pytest.mark.skipif(not ROOT, reason="only root can give folders away")
async def test_a_stack_of_somebody_else(tmp_path: Path) -> None:
    account = accounts.unprivileged()
    assert account
    state_dir = tmp_path / "state"
    state_dir.mkdir()
    os.chown(state_dir, account.uid, account.gid)
    with pytest.raises(EmbeddedError, match="belongs to user"):
        await stack.up(state_dir)
    shutil.rmtree(state_dir)


async def test_data_of_another_version(state_dir: Path) -> None:
    home = homes.resolve(state_dir)
    homes.create(home)
    data_dir = home.data_dir / "postgres" / "data"
    data_dir.mkdir()
    (data_dir / "PG_VERSION").write_text("12\n")
    error = await refused(state_dir, "was made by PostgreSQL 12")
    assert "CLOUDLAB_PG_BIN" in error.hint


async def test_a_failing_server_takes_those_started_for_it_along(running: Path) -> None:
    """A configuration that PostgreSQL refuses: the error shows its log, and the other two are stopped again."""
    await stack.down(running)
    home = homes.resolve(running)
    settings = home.data_dir / "postgres" / "data" / "postgresql.auto.conf"
    good = settings.read_text()
    settings.write_text(good + "shared_buffers = 'a lot'\n")
    with pytest.raises(EmbeddedError, match="PostgreSQL did not start") as caught:
        await stack.up(running)
    assert "shared_buffers" in caught.value.details
    assert processes_of(home) == []
    settings.write_text(good)
    await stack.up(running)


async def test_secrets_that_cannot_be_read(running: Path) -> None:
    await stack.down(running)
    home = homes.resolve(running)
    good = home.saved.read_text()
    home.saved.write_text("{")
    error = await refused(running, "cannot be read")
    assert "--purge" in error.hint
    home.saved.write_text(good)
    await stack.up(running)
