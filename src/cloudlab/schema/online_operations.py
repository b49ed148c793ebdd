"""Every online operation by its name, and how one is asked for in words: `add_index table=items columns=price,name`.

The command line and the directive in a migration file speak this way. A value with spaces stands in single quotes, a
quote in it is doubled.

Standard: §6.2 Zero-Downtime Migrations
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from cloudlab.errors import InvalidInput
from cloudlab.schema.online_columns import AddColumn, Backfill, DropColumn, RenameColumn
from cloudlab.schema.online_constraints import AddCheck, AddForeignKey, AddUnique, SetNotNull
from cloudlab.schema.online_indexes import AddIndex, DropIndex
from cloudlab.schema.online_reshape import ChangeType, PartitionTable, RewriteTable
from cloudlab.schema.online_split import SplitTable
from cloudlab.schema.online_steps import Operation, Phase
from cloudlab.schema.online_tables import AddEnumValue, DropTable, RenameTable

OPERATIONS: dict[str, type[Any]] = {
    one.NAME: one
    for one in (
        AddIndex,
        DropIndex,
        AddColumn,
        SetNotNull,
        AddCheck,
        AddForeignKey,
        AddUnique,
        Backfill,
        RenameColumn,
        DropColumn,
        RenameTable,
        DropTable,
        AddEnumValue,
        ChangeType,
        RewriteTable,
        PartitionTable,
        SplitTable,
    )
}
_WORD = re.compile(r"""\s*([a-z_]+)=('(?:[^']|'')*'|[^\s']+)(?=\s|$)""")


def usage(name: str) -> str:
    """Return how an operation is written, optional arguments in brackets."""
    words = [name]
    for one in dataclasses.fields(OPERATIONS[name]):
        needed = one.default is dataclasses.MISSING
        words.append(f"{one.name}=…" if needed else f"[{one.name}=…]")
    return " ".join(words)


def build(name: str, words: Sequence[str]) -> Operation:
    """Make an operation of `key=value` words, as a shell hands them over.

    Raises:
        InvalidInput: No such operation, an unknown or missing argument; the message shows how it is written.
    """
    kind = OPERATIONS.get(name)
    if kind is None:
        raise InvalidInput(f"there is no online operation {name!r}", hint=f"There are {', '.join(OPERATIONS)}.")
    fields = {one.name: one for one in dataclasses.fields(kind)}
    given: dict[str, object] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in fields or key in given:
            raise InvalidInput(f"{name}: {word!r} is not understood", hint=f"Write {usage(name)}")
        given[key] = _value(name, key, str(fields[key].type), value)
    if lacking := [one.name for one in fields.values() if one.default is dataclasses.MISSING and one.name not in given]:
        raise InvalidInput(f"{name}: {', '.join(lacking)} is missing", hint=f"Write {usage(name)}")
    made: Operation = kind(**given)
    return made


def _value(name: str, key: str, kind: str, value: str) -> object:
    if "tuple" in kind:
        return tuple(part.strip() for part in value.split(";" if ";" in value else ",") if part.strip())
    if "bool" in kind:
        if value not in {"true", "false"}:
            raise InvalidInput(f"{name}: {key} is true or false, not {value!r}")
        return value == "true"
    return value


def read(text: str) -> tuple[Operation, Phase]:
    """Read a directive's text: the operation, its arguments, and `phase=`, which is expand by default.

    Raises:
        InvalidInput: It is not understood.
    """
    name, _, rest = text.strip().partition(" ")
    words: list[str] = []
    phase = Phase.EXPAND
    at = 0
    rest = rest.rstrip()
    while at < len(rest):
        match = _WORD.match(rest, at)
        if not match:
            raise InvalidInput(f"{name}: {rest[at:].strip()!r} is not understood", hint="Write key=value or key='a b'.")
        key, value = match[1], match[2]
        value = value[1:-1].replace("''", "'") if value.startswith("'") else value
        if key == "phase":
            if value not in set(Phase):
                raise InvalidInput(f"{name}: {value!r} is no phase", hint="expand, contract or rollback.")
            phase = Phase(value)
        else:
            words.append(f"{key}={value}")
        at = match.end()
    return build(name, words), phase
