"""Each benchmark runs and shows figure, floor and ratio; what they say is not judged here."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
NAMES = {
    "orders",
    "events",
    "projections",
    "sagas",
    "sessions",
    "moves",
    "tenancy",
    "pages",
    "cache",
    "check",
    "stack",
    "migrations",
    "rewrite",
}


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder for the benchmarks to work in, which the servers' account can reach."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "--quick", "--rounds=1", "--seconds=0.05", *arguments],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def working_below(folder: Path) -> list[str]:
    return [
        " ".join(process.info["cmdline"])
        for process in psutil.process_iter(["cmdline"])
        if any(str(folder) in part for part in process.info["cmdline"] or [])
    ]


def test_every_benchmark_shows_figure_floor_and_ratio(temporary: Path):
    with start(temporary, "--json") as process:
        output, shown = process.communicate(timeout=380)
    assert process.returncode == 0, shown
    found = json.loads(output)
    assert {row["benchmark"] for row in found["rows"]} == NAMES
    for name in NAMES:
        whole = [row for row in found["rows"] if row["benchmark"] == name and row["floor"] and row["ratio"]]
        assert whole, f"{name} has no row with a floor and a ratio"
        assert all(row["figure"]["least"] <= row["figure"]["middle"] <= row["figure"]["greatest"] for row in whole)
        assert f"\n{name}\n" in shown
    assert shown.count("figure                 floor             ratio   target") == len(NAMES)
    assert found["machine"]["postgresql"]["fsync"] == "on"
    assert "fsync on" in shown
    assert not list(temporary.iterdir())
    assert not working_below(temporary)


def test_an_interrupted_benchmark_leaves_nothing(temporary: Path):
    with start(temporary, "--only=orders") as process:
        assert process.stdout is not None
        while "orders/s" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)  # SIGINT is ignored below a shell's background job
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert not list(temporary.iterdir())
    assert not working_below(temporary)


def test_help_gives_examples():
    said = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "examples:" in said.stdout
    assert "--only orders" in said.stdout
