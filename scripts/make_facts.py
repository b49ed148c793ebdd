"""Write down what each form of a schema change locks, rewrites and scans, as servers of both versions show it.

    python scripts/make_facts.py

The rules of `cloudlab check` believe the file; tests/standards/test_facts.py runs the same statements and compares.
"""

import json
import sys
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from cloudlab.embedded.postgres_binaries import find_binaries  # noqa: E402
from fixtures.observing import observe  # noqa: E402
from fixtures.postgres import SYSTEM_15, running  # noqa: E402

FILE = ROOT / "src" / "cloudlab" / "standards" / "facts.json"


def main() -> int:
    """Ask both servers."""
    facts: dict[str, dict[str, object]] = {}
    for version, binaries in (("15", find_binaries({"CLOUDLAB_PG_BIN": str(SYSTEM_15)})), ("18", find_binaries())):
        with (
            running(binaries) as cluster,
            cluster.database("facts") as name,
            psycopg.connect(cluster.url(name, "postgres"), autocommit=True) as conn,
        ):
            for form, observed in observe(conn).items():
                facts.setdefault(form, {})[version] = observed
    FILE.write_text(json.dumps(facts, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
