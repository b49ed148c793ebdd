"""MF03: a migration says how it is taken back.

Standard: §6.1 Migration File Structure
"""

import re
from collections.abc import Iterator

from cloudlab.standards.rule import Found, Level, Rule, Step

_DOWN = {
    "dbmate": re.compile(r"^--\s*migrate:down[^\n]*$(.*)", re.MULTILINE | re.DOTALL),
    "goose": re.compile(r"^--\s*\+goose down[^\n]*$(.*)", re.MULTILINE | re.DOTALL | re.IGNORECASE),
}
_NOTHING = re.compile(r"(?:\s|--[^\n]*|;)*")


def _check(step: Step) -> Iterator[Found]:
    pattern = _DOWN.get(step.script.dialect)
    if pattern is None or step.earlier:
        return
    down = pattern.search(step.script.text)
    if down is None or _NOTHING.fullmatch(down[1]):
        yield Found("there is no way down: nobody can take this back in a hurry", step.script.place(0))


RULE = Rule(
    id="MF03",
    title="A migration says how it is taken back",
    heading="§6.1 Migration File Structure",
    level=Level.WARNING,
    why="A release that goes wrong is taken back under pressure: the way down is written, and tried, beforehand.",
    remedy="Write the section down; where data would be lost, say so in it, and raise an exception.",
    bad=(
        "-- migrate:up\nCREATE TABLE t (a integer PRIMARY KEY);\n",
        "-- migrate:up\nCREATE TABLE t (a integer PRIMARY KEY);\n-- migrate:down\n-- nothing\n",
        "-- +goose Up\nCREATE TABLE t (a integer PRIMARY KEY);\n-- +goose Down\n",
    ),
    good=(
        "-- migrate:up\nCREATE TABLE t (a integer PRIMARY KEY);\n-- migrate:down\nDROP TABLE t;\n",
        "-- +goose Up\nCREATE TABLE t (a integer PRIMARY KEY);\n-- +goose Down\nDROP TABLE t;\n",
        "CREATE TABLE t (a integer PRIMARY KEY);",
    ),
    step=_check,
)
