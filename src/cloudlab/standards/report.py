"""Findings for people and machines: text with the line and a caret, JSON, SARIF, annotations of GitHub, JUnit, HTML.

Standard: §11 Best Practices
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module

from cloudlab.standards.rule import Finding, Level

_SARIF_LEVELS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "note"}
_GITHUB_LEVELS = {Level.ERROR: "error", Level.WARNING: "warning", Level.NOTE: "notice"}


def as_text(findings: Sequence[Finding]) -> str:
    """Return findings for a terminal: where, what, the line with a caret, and the remedy."""
    parts = [_one(finding) for finding in findings]
    counts = Counter(finding.level for finding in findings)
    total = ", ".join(f"{counts[level]} {level}{'s' if counts[level] != 1 else ''}" for level in Level if counts[level])
    return "\n".join([*parts, total or "nothing found"])


def _one(finding: Finding) -> str:
    at = finding.at
    where = f"{at.source}:{at.line}:{at.column}" if at.line else at.source
    name = f" {finding.found.name}:" if finding.found.name else ""
    lines = [f"{where}: {finding.level} {finding.rule.id}:{name} {finding.found.message}"]
    if at.text.strip():
        lines += [f"  {at.text}", f"  {' ' * (at.column - 1)}^"]
    lines.append(f"  remedy: {finding.remedy}")
    return "\n".join(lines) + "\n"


def as_json(findings: Sequence[Finding]) -> str:
    """Return findings as one JSON document, each on a line of its own."""
    lines = ",\n".join(json.dumps(as_dict(finding), ensure_ascii=False) for finding in findings)
    return f'{{"findings": [\n{lines}\n]}}'


def as_dict(finding: Finding) -> dict[str, object]:
    """Return one finding as JSON has it."""
    return {
        "rule": finding.rule.id,
        "title": finding.rule.title,
        "standard": finding.rule.heading,
        "level": str(finding.level),
        "message": finding.found.message,
        "object": finding.found.name,
        "file": finding.at.source,
        "line": finding.at.line,
        "column": finding.at.column,
        "remedy": finding.remedy,
    }


def as_sarif(findings: Sequence[Finding]) -> str:
    """Return findings as SARIF 2.1.0, which code hosts show beside the lines."""
    rules = {finding.rule.id: finding.rule for finding in findings}
    results = [
        {
            "ruleId": finding.rule.id,
            "level": _SARIF_LEVELS[finding.level],
            "message": {"text": f"{finding.found.message} {finding.remedy}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": finding.at.source},
                        "region": {"startLine": max(finding.at.line, 1), "startColumn": max(finding.at.column, 1)},
                    }
                }
            ],
        }
        for finding in findings
    ]
    described = [
        {
            "id": rule.id,
            "shortDescription": {"text": rule.title},
            "fullDescription": {"text": rule.why},
            "help": {"text": rule.remedy},
            "properties": {"standard": rule.heading},
        }
        for rule in sorted(rules.values(), key=lambda rule: rule.id)
    ]
    run = {"tool": {"driver": {"name": "cloudlab check", "rules": described}}, "results": results}
    return json.dumps({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_github(findings: Sequence[Finding]) -> str:
    """Return findings as workflow commands, which GitHub shows in the change that is reviewed."""
    return "\n".join(
        f"::{_GITHUB_LEVELS[one.level]} file={_property(one.at.source)},line={max(one.at.line, 1)},"
        f"col={max(one.at.column, 1)},title={_property(f'{one.rule.id} {one.rule.title}')}::"
        f"{_data(f'{one.found.message} {one.remedy}')}"
        for one in findings
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _loaded(module: str, name: str) -> Callable[[Sequence[Finding]], str]:
    """Return a format that is loaded when it is asked for: most checks are read in a terminal."""

    def report(findings: Sequence[Finding]) -> str:
        return getattr(import_module(module), name)(findings)

    return report


FORMATS: dict[str, Callable[[Sequence[Finding]], str]] = {
    "text": as_text,
    "json": as_json,
    "sarif": as_sarif,
    "github": as_github,
    "junit": _loaded("cloudlab.standards.report_junit", "as_junit"),
    "html": _loaded("cloudlab.standards.report_html", "as_html"),
}
