"""The versions that the names of migration files have, as their tools read them.

Standard: §6.1 Migration File Structure
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cloudlab.standards.scripts import Script

# V1_2__name.sql of Flyway; 001_name.sql of most; 2024-01-31-120000_name/up.sql of diesel, 20240131_name/migration.sql
_FLYWAY = re.compile(r"V(\d+(?:[._]\d+)*)__.+\.sql")
_PLAIN = re.compile(r"(\d+)[_-](?:[^.]*)((?:\.[^.]+)*?)(?:\.up)?\.sql")
_FOLDER = re.compile(r"(\d+|\d{4}-\d\d-\d\d-\d{6})_.+")
_WHOLE = frozenset({"up.sql", "migration.sql"})


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a file: its numbers as written, and what it shares with those that it is in one order with."""

    script: Script
    written: str
    series: tuple[str, ...]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version to compare: 001 is 1, and 1.0 is 1."""
        numbers = [int(part) for part in re.split(r"[._]", self.written.replace("-", ""))]
        while len(numbers) > 1 and not numbers[-1]:
            numbers.pop()
        return tuple(numbers)

    @property
    def name(self) -> str:
        """The file, or the folder that has the version, without what is before it."""
        path = Path(self.script.path)
        return path.parent.name if path.name in _WHOLE else path.name


def version_of(script: Script) -> Version | None:
    """Return the version of a file; None when its name has none."""
    path = Path(script.path)
    if path.name in _WHOLE:
        found = _FOLDER.fullmatch(path.parent.name)
        return Version(script, found[1], (str(path.parent.parent), path.name)) if found else None
    if found := _FLYWAY.fullmatch(path.name):
        return Version(script, found[1], (str(path.parent), "flyway"))
    found = _PLAIN.fullmatch(path.name)
    return Version(script, found[1], (str(path.parent), "plain", found[2])) if found else None


def series(scripts: Iterable[Script]) -> list[list[Version]]:
    """Return the versions of files that are in one order with each other, by number."""
    found: dict[tuple[str, ...], list[Version]] = {}
    for script in scripts:
        if version := version_of(script):
            found.setdefault(version.series, []).append(version)
    return [sorted(one, key=lambda version: version.numbers) for one in found.values()]
