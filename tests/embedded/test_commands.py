"""`cloudlab up | down | status | doctor` as people and scripts see them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cloudlab.cli import doctor, down, status, up
from cloudlab.embedded import homes, stack
from embedded.stacks import processes_of

app = typer.Typer()
for command in (up.up, down.down, status.status, doctor.doctor):
    app.command()(command)


def run(*words: str, answer: str | None = None) -> tuple[int, str]:
    """Run a command; return its exit code and what it printed."""
    result = CliRunner(env={"COLUMNS": "160"}).invoke(app, words, input=answer)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_the_life_of_a_stack(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDLAB_STATE_DIR", str(state_dir))
    monkeypatch.chdir(state_dir.parent)
    code, text = run("status", "--json")
    assert (code, {server["state"] for server in json.loads(text)}) == (3, {"stopped"})
    assert run("doctor")[0] == 0

    code, text = run("up", "--json")
    assert code == 0
    assert [server["name"] for server in json.loads(text)["servers"]] == ["postgres", "valkey", "clickhouse"]
    assert "password" not in text
    code, text = run("status")
    assert code == 0
    assert text.count("running") == 3
    code, text = run("doctor", "--json")
    assert (code, {one["level"] for one in json.loads(text)}) == (0, {"OK"})
    assert "All is well." in run("doctor")[1]

    assert run("down")[0] == 0
    assert run("status")[0] == 3
    assert processes_of(homes.resolve(state_dir)) == []
    assert run("down", "--purge", answer="n\n")[0] == 1
    assert state_dir.exists()
    assert run("down", "--purge", "--yes", "--json") == (
        0,
        json.dumps({"state_dir": str(state_dir), "purged": True}, indent=2) + "\n",
    )
    assert not state_dir.exists()


async def test_doctor_fails_on_what_is_critical(running: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    urls = "".join(f'{duty}_url = "postgresql://x@127.0.0.1:1/x"\n' for duty in ("app", "owner", "worker", "readonly"))
    config = (await stack.up(running)).config
    (tmp_path / "cloudlab.toml").write_text(
        f"[control]\n{urls}\n[[shards]]\nname = 'a'\nregion = 'b'\n{urls}\n"
        f"[cache]\nurl = '{config.cache_url}'\n[analytics]\nurl = '{config.analytics_url}'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "import typer; from cloudlab.cli import doctor; typer.run(doctor.doctor)"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "160"},
    )
    assert done.returncode == 1
    assert "CRITICAL" in done.stdout
    assert "Check app_url of control" in done.stdout


def test_wrong_use() -> None:
    assert run("up", "--shards", "nonsense")[0] == 2
    assert run("up", "--nonsense")[0] == 2


@pytest.mark.parametrize("command", ["up", "down", "status", "doctor"])
def test_help_shows_examples(command: str) -> None:
    code, text = run(command, "--help")
    assert code == 0
    assert f"cloudlab {command}" in text
    assert "Examples:" in text
