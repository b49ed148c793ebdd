"""Refuse a migration that the runner would refuse, or that a running shop would feel.

Standard: §6.1 Migration File Structure, §6.2 Adding Indexes
"""

import re
import sys

from cloudlab.errors import CloudLabError
from cloudlab.schema.files import Migration, Tree, load_tree

# What locks or rewrites a table that is in use. Safe on a table made by the same file, which nobody uses yet.
UNSAFE = {
    r"CREATE (UNIQUE )?INDEX (?!CONCURRENTLY)\S+ ON (?P<table>\w+)": "builds an index under a lock: use CONCURRENTLY",
    r"ALTER TABLE (?P<table>\w+) .*SET NOT NULL": "scans under a lock: add and validate a CHECK first",
    r"ALTER TABLE (?P<table>\w+) .*ADD CONSTRAINT (?!.*NOT VALID)": "scans under a lock: add it NOT VALID, validate",
    r"ALTER TABLE (?P<table>\w+) .*TYPE ": "rewrites the table: add a column, backfill, switch",
    r"UPDATE (?P<table>\w+) SET": "changes every row in one transaction: backfill in batches",
}


def breaches(migration: Migration) -> list[str]:
    """Return what in a migration's up section a running shop would feel."""
    text = re.sub(r"\$\$.*?\$\$", "", migration.up.sql, flags=re.S)
    text = re.sub(r"--[^\n]*", "", text)
    born = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", text))
    found = []
    for pattern, why in UNSAFE.items():
        for match in re.finditer(pattern, re.sub(r"\s+", " ", text)):
            if match["table"] not in born:
                found.append(f"{migration.path.name}: {match[0]!r} {why}")
    return found


def main() -> int:
    """Check all trees."""
    found: list[str] = []
    for tree in Tree:
        try:
            for migration in load_tree(tree):
                found += breaches(migration) if tree is not Tree.CLICKHOUSE else []
        except CloudLabError as error:
            found.append(str(error))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
