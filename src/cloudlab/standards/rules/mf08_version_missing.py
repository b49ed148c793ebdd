"""MF08: migrations that are counted are all there.

Standard: §6.1 Migration File Structure
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scripts import Script
from cloudlab.standards.versions import Version, series

_ENOUGH, _PADDED, _LONGEST = 5, 3, 5


def _check(scripts: Sequence[Script]) -> Iterator[Found]:
    for versions in series(scripts):
        if not _is_counted(versions):
            continue
        gaps = [(one, other) for one, other in pairwise(versions) if other.numbers[0] > one.numbers[0] + 1]
        missing = sum(other.numbers[0] - one.numbers[0] - 1 for one, other in gaps)
        if missing * 10 <= len(versions):
            for one, other in gaps:
                lost = f"{one.numbers[0] + 1:0{len(other.written)}}"
                yield Found(f"{lost} is missing before it", other.script.place(0), other.name)


def _is_counted(versions: Sequence[Version]) -> bool:
    """Whether versions are 001, 002, 003 …, neither times nor hundreds."""
    widths = {len(version.written) for version in versions}
    return (
        len(versions) >= _ENOUGH
        and all(len(version.numbers) == 1 for version in versions)
        and min(widths) >= _PADDED
        and max(widths) <= _LONGEST
        and versions[0].numbers[0] <= 1
    )


def _files(*numbers: int, width: int = 3) -> str:
    return "\n-- next file\n".join(
        f"-- file: {number:0{width}}_change.sql\nCREATE TABLE t{number} (a integer PRIMARY KEY);" for number in numbers
    )


RULE = Rule(
    id="MF08",
    title="Migrations that are counted are all there",
    heading="§6.1 Migration File Structure",
    level=Level.NOTE,
    why="A number that is missing is a file that was forgotten in a commit, or deleted after it ran somewhere: a "
    "database that is made anew is not what the others are.",
    remedy="Bring the file back, or write an empty one that says why.",
    bad=(
        _files(*range(1, 8), *range(9, 13)),
        _files(*range(1, 11), 12),
        _files(*range(11), *range(12, 15), width=4),
    ),
    good=(
        _files(*range(1, 13)),
        _files(1, 50, 51, 52, 53, 54),  # what was before is in the first
        _files(100, 200, 300, 400, 500, 600),
        _files(*range(20240101000000, 20240101000012), 20240102000000),
        _files(1, 2, 4),
    ),
    files=_check,
)
