"""Reading the configuration of PgBouncer.

Standard: §5.3 PgBouncer Configuration
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cloudlab.standards.catalog import NOWHERE, Place
from cloudlab.standards.files import POOLER, Source

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


def read_poolers(sources: Sequence[Source]) -> Iterator[Pooler]:
    """Yield the configurations among files: `*.ini` that have a part [pgbouncer]."""
    for source in sources:
        if source.kind == POOLER and re.search(r"^\s*\[pgbouncer\]", source.text, re.MULTILINE):
            yield parse(source.text, source.path)
