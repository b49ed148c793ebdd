"""Findings that a file says are known: `-- cloudlab: ignore LK05 until 2027-01-01, because the table is empty`.

It holds for the statement that it stands in or above, with `ignore-file` for the file. One without a reason or past its
day holds for nothing and is itself reported, and so is one that nothing needs.

Standard: §11.3 Operational Excellence
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from cloudlab.standards.catalog import Place
from cloudlab.standards.rule import Finding, Found, Level, Rule
from cloudlab.standards.scripts import Script

_COMMENT = re.compile(
    r"--[ \t]*cloudlab:[ \t]*(ignore(?:-file)?)[ \t]+([A-Za-z]{2}\d\d(?:[ \t]*,[ \t]*[A-Za-z]{2}\d\d)*)"
    r"(?:[ \t]+until[ \t]+(\d{4}-\d\d-\d\d))?[ \t]*[,:;-]*[ \t]*(?:because\b)?[ \t]*(.*)$",
    re.MULTILINE,
)
_REASON = re.compile(r"\w{2,}.*\w{2,}")
_HEADING = "§11.3 Operational Excellence"

NO_REASON = Rule(
    id="SU01",
    title="A suppression says why",
    heading=_HEADING,
    level=Level.ERROR,
    why="Nobody can judge later whether an exception without a reason still is one.",
    remedy="-- cloudlab: ignore LK05 because the table has ten rows.",
)
EXPIRED = Rule(
    id="SU02",
    title="A suppression has not expired",
    heading=_HEADING,
    level=Level.ERROR,
    why="Somebody promised to have mended it by then.",
    remedy="Mend what it hides, or give it another day.",
)
UNUSED = Rule(
    id="SU03",
    title="A suppression is needed",
    heading=_HEADING,
    level=Level.WARNING,
    why="One that hides nothing hides the next finding.",
    remedy="Delete the comment.",
)
RULES = (NO_REASON, EXPIRED, UNUSED)


@dataclass(slots=True)
class Suppression:
    """A comment that says which findings are known, and the lines it speaks of."""

    ids: frozenset[str]
    at: Place
    lines: frozenset[int]
    whole_file: bool
    until: date | None
    reason: str

    def hides(self, finding: Finding) -> bool:
        """Whether a finding is one of those it speaks of."""
        same = finding.at.source == self.at.source and finding.rule.id in self.ids
        return same and (self.whole_file or finding.at.line in self.lines)


def applied(
    findings: Sequence[Finding], scripts: Sequence[Script], asked: Collection[str], today: date
) -> Iterator[Finding]:
    """Yield findings that no comment hides, and those about the comments.

    Args:
        findings: Of the scripts, and of whatever else was checked.
        scripts: Where the comments stand.
        asked: The ids of the rules that were asked; a comment about another cannot be needed.
        today: What a day of expiry is compared with.
    """
    valid: list[Suppression] = []
    for suppression in (one for script in scripts for one in suppressions(script)):
        if not _REASON.search(suppression.reason):
            yield _finding(NO_REASON, f"does not say why {_listed(suppression)} may be there", suppression)
        elif suppression.until and suppression.until < today:
            yield _finding(EXPIRED, f"was to hold until {suppression.until}", suppression)
        else:
            valid.append(suppression)
    used: set[int] = set()
    for finding in findings:
        hiding = [number for number, one in enumerate(valid) if one.hides(finding)]
        used.update(hiding)
        if not hiding:
            yield finding
    for number, suppression in enumerate(valid):
        if number not in used and suppression.ids <= set(asked):
            yield _finding(UNUSED, f"there is no {_listed(suppression)} that it hides", suppression)


def valid(script: Script, today: date) -> Iterator[Suppression]:
    """Yield the comments of a script that say why and have not expired."""
    for one in suppressions(script):
        if _REASON.search(one.reason) and not (one.until and one.until < today):
            yield one


def suppressions(script: Script) -> Iterator[Suppression]:
    """Yield the comments of a script that hide findings."""
    if "cloudlab:" not in script.text:
        return
    for found in _COMMENT.finditer(script.text):
        at = script.place(found.start())
        ids = frozenset(one.strip().upper() for one in found[2].split(","))
        until = _day(found[3])
        reason = found[4].removesuffix("*/").strip()
        yield Suppression(ids, at, _lines(script, at.line), found[1].lower() == "ignore-file", until, reason)


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return date.min  # no day of any calendar: never to come


def _lines(script: Script, line: int) -> frozenset[int]:
    """Return the lines a comment speaks of: its own, those of its statement, or of the one that follows."""
    lines = {line}
    number = line - script.first_line
    if script.lines[number].lstrip().startswith("--"):
        while number < len(script.lines) and (not script.lines[number].strip() or _is_comment(script.lines[number])):
            number += 1
        lines.add(number + script.first_line)
    for statement in script.statements:
        begin = statement.at.line
        end = begin + statement.text.count("\n")
        if begin <= line <= end or begin in lines:
            lines.update(range(begin, end + 1))
    return frozenset(lines)


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("--")


def _listed(suppression: Suppression) -> str:
    return ", ".join(sorted(suppression.ids))


def _finding(rule: Rule, message: str, suppression: Suppression) -> Finding:
    return Finding(rule, Found(message, suppression.at, _listed(suppression)), rule.level)
