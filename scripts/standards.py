"""The headings of the database design standards, and where the code says it meets them.

A module, a migration or a test cites a heading in its docstring or header: `Standard: §5.2 Pagination`.
"""

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parent.parent

HEADINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "1.1": ("Technology Stack", ()),
    "1.2": ("Data Domain Mapping", ()),
    "2.1": ("Naming Conventions", ("Table Naming", "Column Naming", "Index Naming")),
    "2.2": ("Data Types and Constraints", ("Standard Data Types", "Column Constraints")),
    "2.3": ("Primary Keys and Foreign Keys", ("Primary Key Standards", "Foreign Key Standards")),
    "3.1": (
        "Consistency Models by Domain",
        ("Strong Consistency (CP from CAP)", "Eventual Consistency (AP from CAP)"),
    ),
    "3.2": ("Event Sourcing Implementation", ("Event Store Schema", "Event Examples")),
    "3.3": ("Saga Pattern Implementation", ("Saga State Management",)),
    "4.1": ("Tenant Isolation Strategies", ("Row-Level Security (RLS)", "Tenant-Specific Schemas")),
    "4.2": ("Tenant Data Management", ("Tenant Configuration",)),
    "5.1": ("Indexing Strategies", ("Primary Indexes", "Partial Indexes", "Covering Indexes")),
    "5.2": ("Query Optimization", ("Query Patterns", "Pagination")),
    "5.3": ("Connection Pooling", ("PgBouncer Configuration",)),
    "6.1": ("Versioned Migrations", ("Migration File Structure", "Migration Tracking")),
    "6.2": ("Zero-Downtime Migrations", ("Adding Columns", "Adding Indexes", "Schema Changes")),
    "7.1": ("Horizontal Partitioning", ("Time-Based Partitioning", "Hash-Based Partitioning")),
    "7.2": ("Sharding Strategies", ("Tenant-Based Sharding", "Geographic Sharding")),
    "8.1": ("Retention Policies", ("Business Rule Compliance", "Automated Archiving")),
    "8.2": ("Data Lifecycle Management", ("Soft Deletion",)),
    "9.1": ("Data Encryption", ("Encryption at Rest", "Encryption in Transit")),
    "9.2": ("Access Control", ("Role-Based Access", "Row-Level Security")),
    "10.1": ("Database Metrics", ("Performance Monitoring", "Health Checks")),
    "10.2": ("Business Metrics", ("Business Rule Compliance Monitoring",)),
    "11.1": ("Design Principles", ()),
    "11.2": ("Implementation Guidelines", ()),
    "11.3": ("Operational Excellence", ()),
}

# Headings whose code is still to come. The list only shrinks: a heading that has a home must leave it.
TO_COME: tuple[str, ...] = ()

_CITATION = re.compile(r"^(?:\s*|-- )Standard: (§.*)$", re.M)
_ENTRY = re.compile(r"§(\d+\.\d+) ([^,§]+(?:\([^)]*\))?)")


def citations() -> tuple[dict[str, list[str]], list[str]]:
    """Return the places that cite each heading (`5.2 Pagination` → paths), and the citations of none."""
    homes: defaultdict[str, list[str]] = defaultdict(list)
    wrong: list[str] = []
    for folder, pattern in (("src", "*.py"), ("src", "*.sql"), ("tests", "*.py"), ("scripts", "*.py")):
        for path in sorted((ROOT / folder).rglob(pattern)):
            if path.name == Path(__file__).name:
                continue
            place = str(path.relative_to(ROOT))
            for line in _CITATION.findall(path.read_text()):
                for number, title in _ENTRY.findall(line):
                    if not _known(number, title.strip()):
                        wrong.append(f"{place}: §{number} {title.strip()}")
                    elif place not in homes[f"{number} {title.strip()}"]:
                        homes[f"{number} {title.strip()}"].append(place)
    return dict(homes), wrong


def _known(number: str, title: str) -> bool:
    if number not in HEADINGS:
        return False
    name, parts = HEADINGS[number]
    return title in (name, *parts)


def homeless(homes: dict[str, list[str]]) -> list[str]:
    """Return the headings that no place cites; one cited as a whole covers its parts."""
    found = []
    for number, (name, parts) in HEADINGS.items():
        if f"{number} {name}" in homes:
            continue
        found += [f"{number} {part}" for part in parts or (name,) if f"{number} {part}" not in homes]
    return found
