"""Real servers for every test: started once a run, throw-away, nothing left behind.

The fixtures stand in fixtures/, each beside the header line that says which server the run meets. `config` is a whole
installation of its own for each test: control database, two shards, cache, analytics.
"""

import os

import pytest

_other_postgres = os.environ.get("CLOUDLAB_TEST_PG_BIN")
for _name in list(os.environ):
    _is_ours = _name.startswith(("PG", "CLOUDLAB_")) and not _name.startswith("CLOUDLAB_TEST_")
    # The width of this terminal is not the tables' business either.
    if _is_ours or _name in ("COLUMNS", "LINES"):
        del os.environ[_name]
if _other_postgres:
    os.environ["CLOUDLAB_PG_BIN"] = _other_postgres

pytest_plugins = [
    "fixtures.postgres",
    "fixtures.pgbouncer",
    "fixtures.valkey",
    "fixtures.clickhouse",
    "fixtures.installation",
    "fixtures.platforms",
]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "postgres15: also needs PostgreSQL 15 as Debian packages it; skipped without")
