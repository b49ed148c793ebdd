"""The project's own rules hold, and each of them can fail."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("script", ["check_sizes.py", "check_migrations.py", "make_docs.py"])
def test_the_check_passes(script: str):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / script, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_a_long_function_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    sizes = __import__("check_sizes")
    monkeypatch.setattr(sizes, "ROOT", tmp_path)
    path = tmp_path / "long.py"
    path.write_text("def f():\n" + "    x = 1\n" * 61)
    assert sizes.too_large(path) == ["long.py:1: f has 61 lines, more than 60"]
    path.write_text("x = 1\n" * 401)
    assert sizes.too_large(path) == ["long.py:1: 401 lines, more than 400"]


def test_a_migration_that_a_running_shop_would_feel_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    migrations = __import__("check_migrations")
    files = __import__("cloudlab.schema.files", fromlist=["parse"])
    header = "-- Migration: m\n-- Author: a\n-- Date: 2026-01-01\n-- Description: d\n-- Standard: §6.2 Adding Indexes\n"
    unsafe = header + "-- migrate:up\nCREATE INDEX idx_a_b ON a (b);\n-- migrate:down\nDROP INDEX idx_a_b;\n"
    (found,) = migrations.breaches(files.parse(Path("001_m.sql"), unsafe))
    assert "CONCURRENTLY" in found
    born = unsafe.replace("CREATE INDEX", "CREATE TABLE a (b integer);\nCREATE INDEX")
    assert migrations.breaches(files.parse(Path("001_m.sql"), born)) == []
