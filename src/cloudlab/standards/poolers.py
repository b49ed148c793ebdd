"""Reading the configuration of PgBouncer.

Standard: §5.3 PgBouncer Configuration
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloudlab.standards.catalog import NOWHERE, Place

_SECTION = re.compile(r"\s*\[(\w+)\]\s*$")
_SETTING = re.compile(r"\s*([^=;#\s]+)\s*=\s*(.*?)\s*$")
_WORD = re.compile(r"(\w+)\s*=\s*(?:'((?:[^']|'')*)'|(\S*))")


@dataclass
class Pooler:
    """A configuration of PgBouncer: its databases, its settings, and where each of them stands."""

    path: str
    databases: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    settings: dict[str, str] = field(default_factory=dict[str, str])
    places: dict[tuple[str, str], Place] = field(default_factory=dict[tuple[str, str], Place])

    def at(self, section: str, name: str) -> Place:
        """Return where a setting stands, the file when it does not."""
        return self.places.get((section, name), Place(self.path) if self.path else NOWHERE)

    @property
    def is_open(self) -> bool:
        """Whether it listens to more than the machine it runs on."""
        listens = {one.strip() for one in self.settings.get("listen_addr", "").split(",")}
        return bool(listens - {"", "127.0.0.1", "::1", "localhost"})


def parse(text: str, path: str = "") -> Pooler:
    """Read a configuration; what is no setting is passed over."""
    pooler, section = Pooler(path), ""
    for number, line in enumerate(text.split("\n"), 1):
        if found := _SECTION.match(line):
            section = found[1].lower()
        elif not line.lstrip().startswith((";", "#")) and (found := _SETTING.match(line)):
            name = found[1]
            pooler.places[section, name] = Place(path, number, found.start(1) + 1, line)
            if section == "databases":
                words = {
                    word[1]: (word[2] or "").replace("''", "'") or word[3] or "" for word in _WORD.finditer(found[2])
                }
                pooler.databases[name] = words
            elif section == "pgbouncer":
                pooler.settings[name] = found[2]
    return pooler


def read_poolers(paths: Sequence[Path]) -> Iterator[Pooler]:
    """Yield the configurations among files and below folders: `*.ini` that are named or have a part [pgbouncer]."""
    for path in paths:
        files = sorted(path.rglob("*.ini")) if path.is_dir() else [path] * (path.suffix == ".ini")
        for file in files:
            text = file.read_text(encoding="utf-8", errors="replace")
            if re.search(r"^\s*\[pgbouncer\]", text, re.MULTILINE):
                yield parse(text, str(file))
