"""Findings that were there when a project began to check: only what is new is reported.

A finding is known by its rule, its file, its object and its message, not by its line, which moves.

Standard: §11.3 Operational Excellence
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from cloudlab.errors import InvalidInput, NotFound
from cloudlab.standards.rule import Finding

Key = tuple[str, str, str, str]


def _key(finding: Finding) -> Key:
    return finding.rule.id, finding.at.source.replace("\\", "/"), finding.found.name, finding.found.message


def written(findings: Iterable[Finding]) -> str:
    """Return a baseline as text: JSON, sorted, so that its changes can be reviewed."""
    entries = [
        dict(zip(("rule", "file", "object", "message"), key, strict=True)) for key in sorted(map(_key, findings))
    ]
    return json.dumps({"findings": entries}, indent=1, ensure_ascii=False) + "\n"


def read(path: Path) -> Counter[Key]:
    """Return what a baseline knows, and how often.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is no baseline.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["findings"]
        return Counter((one["rule"], one["file"], one["object"], one["message"]) for one in entries)
    except FileNotFoundError as error:
        raise NotFound(f"there is no baseline {path}", hint="`--write-baseline` makes it.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} is no baseline: {error!r}", hint="`--write-baseline` makes one.") from error


def unknown(findings: Iterable[Finding], known: Counter[Key]) -> Sequence[Finding]:
    """Return the findings that a baseline does not know; of twins, those that are more than it knows."""
    left, new = Counter(known), list[Finding]()
    for finding in findings:
        key = _key(finding)
        if left[key]:
            left[key] -= 1
        else:
            new.append(finding)
    return new
