"""CP06: between expand and contract there is a release.

Standard: §6.2 Zero-Downtime Migrations
"""

import re
from collections.abc import Iterator, Sequence

from cloudlab.standards.catalog import Place
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scripts import Script

# Those between whose two phases programs move from the old name to the new one.
_LINE = re.compile(r"^--\s*migrate:online\s+(rename_column|rename_table|drop_column|split_table)\s+(.+)$")
_PHASE = re.compile(r"\bphase=(\w+)")


def _check(scripts: Sequence[Script]) -> Iterator[Found]:
    for script in scripts:
        expanded: dict[tuple[str, frozenset[str]], int] = {}
        for number, line in enumerate(script.text.split("-- migrate:down", 1)[0].splitlines(), 1):
            if not (written := _LINE.match(line)):
                continue
            phase = _PHASE.search(written[2])
            what = written[1], frozenset(_PHASE.sub("", written[2]).split())
            if phase is None or phase[1] == "expand":
                expanded[what] = number
            elif phase[1] == "contract" and what in expanded:
                yield Found(
                    f"{written[1]} is contracted in the file that begins it in line {expanded[what]}: programs that run"
                    " meanwhile still use the old one",
                    Place(script.path, number, 1, line),
                    written[1],
                )


def _file(*lines: str) -> str:
    ways = "\n".join(f"-- migrate:online {line}" for line in lines)
    up, down = (f"-- migrate:{way} transaction:false" for way in ("up", "down"))
    return f"-- file: 002_change.sql\n{up}\n{ways}\n{down}\nSELECT 1;"


_RENAME = "rename_column table=users column=mail to=email"

RULE = Rule(
    id="CP06",
    title="Between expand and contract there is a release",
    heading="§6.2 Zero-Downtime Migrations",
    level=Level.ERROR,
    why="Expand lets old and new programs work beside each other; contract ends the old way. In one file nothing runs "
    "between the two, and every program of the release before fails at once.",
    remedy="Move the line with phase=contract to a migration of the next release, or use `cloudlab online contract`.",
    bad=(
        _file(_RENAME, f"{_RENAME} phase=contract"),
        _file("drop_column table=users column=fax phase=expand", "drop_column table=users column=fax phase=contract"),
        _file("rename_table table=users to=people", "rename_table to=people table=users phase=contract"),
    ),
    good=(
        _file(_RENAME),
        f"{_file(_RENAME)}\n-- next file\n{_file(f'{_RENAME} phase=contract').replace('002', '003')}",
        _file(_RENAME, "rename_column table=users column=fax to=fax_number phase=contract"),
        _file("change_type table=t column=a type=bigint", "change_type table=t column=a type=bigint phase=contract"),
    ),
    files=_check,
)
