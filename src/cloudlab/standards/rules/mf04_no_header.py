"""MF04: a migration has a header that says what, who and when.

Standard: §6.1 Migration File Structure
"""

import re
from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Step

_LINES = ("Migration", "Author", "Date", "Description")


def _check(step: Step) -> Iterator[Found]:
    if step.earlier or step.script.dialect != "dbmate":
        return
    head = step.script.text.split("-- migrate:", 1)[0]
    missing = [name for name in _LINES if not re.search(rf"^-- {name}:[ \t]*\S", head, re.MULTILINE)]
    if missing:
        yield Found(f"the header does not say {', '.join(missing)}", step.script.place(0))


_HEAD = "-- Migration: Users\n-- Author: Ada\n-- Date: 2026-11-22\n-- Description: Who buys\n"
_REST = "-- migrate:up\nCREATE TABLE t (a integer PRIMARY KEY);\n-- migrate:down\nDROP TABLE t;\n"

RULE = Rule(
    id="MF04",
    title="A migration has a header",
    heading="§6.1 Migration File Structure",
    level=Level.NOTE,
    why="Years later the file is all that is left to say why a column is what it is.",
    remedy="Begin with -- Migration:, -- Author:, -- Date: and -- Description: (`cloudlab migrate new` does).",
    bad=(_REST, f"-- Migration: Users\n{_REST}", f"{_HEAD.replace('Ada', '')}{_REST}"),
    good=(f"{_HEAD}{_REST}", f"\n{_HEAD}\n{_REST}", "CREATE TABLE t (a integer PRIMARY KEY);"),
    step=_check,
)
