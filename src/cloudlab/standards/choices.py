"""What a project has chosen for `cloudlab check`: which rules, at which level, where not.

It stands in `cloudlab.toml` under [check], or in `pyproject.toml` under [tool.cloudlab.check].

Standard: §11.3 Operational Excellence
"""

import fnmatch
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from cloudlab.errors import ConfigError, NotFound
from cloudlab.standards.rule import Finding, Level, Rule
from cloudlab.standards.rules import every

# What the checker itself reports: SQL it does not understand, files for other databases, comments that hide findings.
_OWN = ("SX01", "SX02", "SU01", "SU02", "SU03")
_KEYS = {"select", "ignore", "levels", "paths"}


@dataclass(frozen=True, slots=True)
class Choices:
    """Which rules are asked, and how bad their findings are.

    Attributes:
        select: Ids or families (`NM`) of the rules that are asked; all when empty.
        ignore: Ids or families of those that are not.
        levels: Another level for a rule or a family.
        paths: For a pattern of paths, the ids or families that are not asked there.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    levels: Mapping[str, Level] = field(default_factory=dict[str, Level])
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def rules(self) -> list[Rule]:
        """Return the rules that are asked.

        Raises:
            NotFound: Nothing fits one of the names.
        """
        known = every()
        for name in (*self.select, *self.ignore, *self.levels, *(one for ids in self.paths.values() for one in ids)):
            if not any(rule_id.startswith(name.upper()) for rule_id in (*(rule.id for rule in known), *_OWN)):
                raise NotFound(f"there is no rule {name}", hint="`cloudlab rules` lists them.")
        wanted = self.select or ("",)
        return [rule for rule in known if _fits(rule.id, wanted) and not _fits(rule.id, self.ignore)]

    def applied(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """Yield findings at the level that was chosen for them, without those that are not wanted at their path."""
        for finding in findings:
            if any(_at(finding.at.source, path) and _fits(finding.rule.id, ids) for path, ids in self.paths.items()):
                continue
            level = next((level for name, level in self.levels.items() if _fits(finding.rule.id, (name,))), None)
            yield replace(finding, level=level) if level else finding


def _fits(rule_id: str, names: Sequence[str]) -> bool:
    return rule_id.startswith(tuple(name.upper() for name in names)) if names else False


def _at(source: str, pattern: str) -> bool:
    """Whether a path fits a pattern, from its beginning or from any folder on."""
    path = source.replace("\\", "/")
    return fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(path, f"*/{pattern}")


def load(folder: Path) -> Choices:
    """Return the choices of the project that a folder belongs to: the nearest file above that has any.

    Raises:
        ConfigError: The file cannot be read, or a name in it means nothing.
    """
    for place in (folder, *folder.parents):
        for name, keys in (("cloudlab.toml", ("check",)), ("pyproject.toml", ("tool", "cloudlab", "check"))):
            found = _table(place / name, keys)
            if found is not None:
                return _choices(found, place / name)
    return Choices()


def _table(path: Path, keys: Sequence[str]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        found: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    for key in keys:
        found = cast(dict[str, Any], found).get(key)
        if not isinstance(found, dict):
            return None
    return cast(dict[str, Any], found)


def _choices(found: dict[str, Any], path: Path) -> Choices:
    unknown = sorted(set(found) - _KEYS)
    if unknown:
        raise ConfigError(f"{path}: check has no {', '.join(unknown)}", hint=f"It has {', '.join(sorted(_KEYS))}.")
    try:
        levels = {str(name): Level(level) for name, level in found.get("levels", {}).items()}
        paths = {str(pattern): tuple(map(str, ids)) for pattern, ids in found.get("paths", {}).items()}
        return Choices(tuple(found.get("select", ())), tuple(found.get("ignore", ())), levels, paths)
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: {error}", hint="Levels are error, warning and note.") from error
