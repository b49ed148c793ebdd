"""Results that are kept: a check of the same files by the same rules is one look into a folder.

A result is named by all that it depends on: the text and the path of each file, the options, the project's choices and
baseline, the day (of which exceptions expire) and the checker itself. Databases, commits and explanations are never
kept.

Standard: §11.3 Operational Excellence
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from cloudlab.standards.files import Source, is_database
from cloudlab.standards.order import Order

_KEPT = 64


@dataclass(frozen=True, slots=True)
class Result:
    """A report as it is printed, and whether the check has failed."""

    text: str
    failed: bool


def can_be_kept(order: Order) -> bool:
    """Whether nothing but files decides the result."""
    asks_elsewhere = order.since or order.explain or order.fix or order.write_baseline
    asks_elsewhere = asks_elsewhere or any(map(is_database, order.targets))
    return order.use_cache and not asks_elsewhere


def name(order: Order, sources: Sequence[Source]) -> str:
    """Return the name of a result: equal when all that it depends on is."""
    digest = hashlib.blake2b(digest_size=20)
    for part in _parts(order, sources):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _parts(order: Order, sources: Sequence[Source]) -> Iterator[bytes]:
    yield repr((astuple(order), sys.version, datetime.now(UTC).date(), os.environ.get("COLUMNS"))).encode()
    yield from _checker()
    here = Path.cwd()
    choices = (folder / one for folder in (here, *here.parents) for one in ("cloudlab.toml", "pyproject.toml"))
    for path in (*choices, *([Path(order.baseline)] if order.baseline else [])):
        if path.is_file():
            yield str(path).encode()
            yield path.read_bytes()
    for source in sources:
        yield source.path.encode(errors="surrogateescape")
        yield source.text.encode(errors="surrogateescape")


def _checker() -> Iterator[bytes]:
    """Yield what changes with the checker: its files, and the parser's package."""
    parser = find_spec("postgast")
    folders = [Path(__file__).parent, Path(__file__).parent / "rules"]
    if parser and parser.origin:
        folders.append(Path(parser.origin).parent)
    for folder in folders:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                if entry.is_file():
                    seen = entry.stat()
                    yield f"{entry.path} {seen.st_size} {seen.st_mtime_ns}".encode()


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "cloudlab" / "check"


def find(key: str) -> Result | None:
    """Return a result that was kept; None when there is none, or it cannot be read."""
    with suppress(OSError, ValueError, KeyError):
        kept = json.loads((_folder() / f"{key}.json").read_text(encoding="utf-8"))
        return Result(kept["text"], kept["failed"])
    return None


def keep(key: str, result: Result) -> None:
    """Keep a result, and forget the oldest; a folder that cannot be written only costs the time of the next check."""
    folder = _folder()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f"{key}.{os.getpid()}.new"
        new.write_text(json.dumps({"text": result.text, "failed": result.failed}), encoding="utf-8")
        new.replace(folder / f"{key}.json")
        for old in sorted(folder.iterdir(), key=lambda one: one.stat().st_mtime)[:-_KEPT]:
            old.unlink()
