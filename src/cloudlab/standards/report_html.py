"""A page for people who do not read terminals: findings, and how well each heading of the standards is met.

Standard: §11 Best Practices
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from html import escape

from cloudlab.standards.rule import Finding, Level
from cloudlab.standards.rules import every

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2733 }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem }
td, th { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #dde3ea }
pre { background: #f4f6f8; padding: .4rem .6rem; overflow-x: auto; margin: .3rem 0 }
.error { color: #b3261e } .warning { color: #8a5a00 } .note { color: #51606f }
meter { width: 8rem } @media (prefers-color-scheme: dark) {
body { background: #14181d; color: #d6dee7 } pre { background: #1f262e } td, th { border-color: #2c3640 } }
"""


def scores() -> dict[str, list[str]]:
    """Return the ids of the rules of each heading of the standards, in the order of the headings."""
    headings: defaultdict[str, list[str]] = defaultdict(list)
    for rule in every():
        headings[rule.heading].append(rule.id)
    return dict(sorted(headings.items(), key=lambda item: _number(item[0])))


def _number(heading: str) -> tuple[int, ...]:
    return tuple(int(part) for part in heading.split(" ")[0].strip("§").split("."))


def as_html(findings: Sequence[Finding]) -> str:
    """Return findings as one page without scripts and without anything from elsewhere.

    The score of a heading is the share of its rules that have found neither an error nor a warning.
    """
    parts = [*_scores(findings), *(_finding(finding) for finding in findings)]
    counted = ", ".join(f"{sum(one.level == level for one in findings)} {level}s" for level in Level)
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>cloudlab check</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f"<h1>cloudlab check</h1><p>{counted}</p>{''.join(parts)}</html>"
    )


def _scores(findings: Sequence[Finding]) -> Iterator[str]:
    broken = {finding.rule.id for finding in findings if finding.level is not Level.NOTE}
    yield "<h2>Score by heading of the standards</h2><table><tr><th>heading<th>score<th>rules<th>broken"
    for heading, ids in scores().items():
        failed = [one for one in ids if one in broken]
        score = round(100 * (len(ids) - len(failed)) / len(ids))
        yield (
            f"<tr><td>{escape(heading)}<td><meter min=0 max=100 low=50 high=90 optimum=100 value={score}></meter> "
            f"{score} %<td>{len(ids)}<td>{' '.join(failed)}"
        )
    yield "</table><h2>Findings</h2>"


def _finding(finding: Finding) -> str:
    at, name = finding.at, escape(finding.found.name)
    where = f"{at.source}:{at.line}:{at.column}" if at.line else at.source
    code = f"<pre>{escape(at.text.strip())}</pre>" if at.text.strip() else ""
    return (
        f"<section><h3><span class={finding.level}>{finding.level} {finding.rule.id}</span> {name}</h3>"
        f"<p>{escape(where)}<br>{escape(finding.found.message)}</p>{code}"
        f"<p>{escape(finding.rule.heading)}: {escape(finding.rule.why)}</p>"
        f"<pre>{escape(finding.remedy)}</pre></section>"
    )
