"""MF01: every migration has a version of its own, in the order in which its tool goes.

Standard: §6.1 Migration File Structure
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scripts import Script
from cloudlab.standards.versions import Version, series

_PADDED = 3
_BY_VERSION = frozenset({"dbmate", "goose", "flyway"})


def _check(scripts: Sequence[Script]) -> Iterator[Found]:
    for versions in series(scripts):
        # Others, such as Prisma, know a migration by its whole name.
        if not all(_is_known_by_version(version) for version in versions):
            continue
        for one, other in pairwise(versions):
            if one.numbers == other.numbers:
                yield Found(
                    f"has the version of {one.name}: its tool refuses both, or takes one of them for applied",
                    other.script.place(0),
                    other.name,
                    f"Give it a version of its own, behind {versions[-1].written}.",
                )
        if all(version.script.dialect == "dbmate" for version in versions):
            yield from _sorted_as_text(versions)


def _is_known_by_version(version: Version) -> bool:
    path = version.script.path
    return version.script.dialect in _BY_VERSION or path.endswith((".up.sql", "/up.sql"))


def _sorted_as_text(versions: Sequence[Version]) -> Iterator[Found]:
    """Report where dbmate, which sorts names as text, goes another way than the numbers."""
    if all(len(version.written) >= _PADDED for version in versions):
        return
    for one, other in pairwise(versions):
        if one.numbers < other.numbers and other.name < one.name:
            yield Found(
                f"runs before {one.name}: names are sorted as text",
                other.script.place(0),
                other.name,
                "Write versions with as many digits as the longest has, or as times: 20261122103000.",
            )
            return


def _files(*names: str, text: str = "CREATE TABLE t (a integer PRIMARY KEY);") -> str:
    return "\n-- next file\n".join(f"-- file: {name}\n{text}" for name in names)


_DBMATE = "-- migrate:up\nCREATE TABLE t (a integer PRIMARY KEY);\n-- migrate:down\nDROP TABLE t;"

RULE = Rule(
    id="MF01",
    title="Every migration has a version of its own",
    heading="§6.1 Migration File Structure",
    level=Level.WARNING,
    why="Two branches that both took the next number meet in one folder: tools know a migration by its version, so one "
    "of the two is refused, or never runs where the other did.",
    remedy="Give the later one the next version; times as versions collide less.",
    bad=(
        _files("001_users.sql", "002_orders.sql", "002_items.sql", text=_DBMATE),
        _files("V1__users.sql", "V1.0__people.sql"),
        _files("1_users.up.sql", "2_orders.up.sql", "02_items.up.sql"),
        _files("2024-01-31-120000_users/up.sql", "2024-01-31-120000_orders/up.sql", "2024-02-01-120000_items/up.sql"),
        _files("9_users.sql", "10_orders.sql", text=_DBMATE),
    ),
    good=(
        _files("001_users.sql", "002_orders.sql", "003_items.sql", text=_DBMATE),
        _files("shard/001_users.sql", "control/001_tenants.sql", text=_DBMATE),
        _files("001_users.mysql.sql", "001_users.postgres.sql", "002_items.postgres.sql", text=_DBMATE),
        _files("V1__users.sql", "V1_1__orders.sql", "R__views.sql", "R__functions.sql"),
        _files("1_schema.sql", "1_data.sql", "73/22_stream.sql", "73/22_user_dir.sql"),
        _files("20240528_index_01/migration.sql", "20240528_index_02/migration.sql", "20240529_a/migration.sql"),
        _files("9_users.up.sql", "10_orders.up.sql", "11_items.up.sql"),
        _files("998_users.sql", "999_users.sql", "1000_orders.sql", text=_DBMATE),
    ),
    files=_check,
)
