"""The committed description of the schema is today's."""

import subprocess
import sys
from pathlib import Path

import pytest

from cloudlab.embedded.postgres import find_binaries

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "dump_schema.py"


def test_the_committed_dump_is_todays_schema():
    if find_binaries().version != 18:
        pytest.skip(f"the dump is made by PostgreSQL 18, this run is on {find_binaries().full_version}")
    done = subprocess.run([sys.executable, _SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
