"""`cloudlab check --fix`: one migration that mends what can be mended without a decision of anybody.

A rule says of itself whether the SQL of its remedies is that safe (`Rule.mends`). What the engine can do online is
written as its line, the rest as statements that hold no lock for long. Nothing is applied here.

Standard: §6.2 Zero-Downtime Migrations
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import postgast
from postgast import pg_query_pb2 as pb

from cloudlab.schema import files
from cloudlab.standards import instead
from cloudlab.standards.rule import Finding

PRINTED = "-"
_TITLE = "Findings of the checker mended"
_WIDTH = 110
_REWRITE = re.compile(r"-- migrate:online change_type table=(\S+)")


@dataclass(frozen=True, slots=True)
class Mended:
    """A migration, the findings that are none any more once it has run, and those that somebody must decide about."""

    text: str
    done: Sequence[Finding]
    left: Sequence[Finding]


def mend(findings: Sequence[Finding], on: date) -> Mended:
    """Write the migration for some findings; its text is empty when none of them can be mended so."""
    done, left, steps = list[Finding](), list[Finding](), list[str]()
    seen, rewritten = set[str](), set[str]()
    for finding in findings:
        statements = list(_statements(finding))
        tables = {found[1] for line in statements if (found := _REWRITE.match(line)) and line not in seen}
        # The copy of a table that was written anew stays until the operation is contracted: one a file.
        statements = [] if tables & rewritten else statements
        rewritten |= tables
        (done if statements else left).append(finding)
        new = [statement for statement in statements if statement not in seen]
        if new:
            seen.update(new)
            says = f"{finding.rule.id} {finding.found.name}: {finding.found.message}".replace("\n", " ")
            steps += [f"-- {says[:_WIDTH]}", *new, ""]
    if not steps:
        return Mended("", done, left)
    lines = [
        *files.header(_TITLE, "cloudlab check --fix", on, _counts(done), "§6.2 Zero-Downtime Migrations"),
        "",
        "-- migrate:up transaction:false",
        *steps,
        "-- migrate:down transaction:false",
        "SELECT 'what is mended stays so: the application does not see it';",
        "",
    ]
    return Mended("\n".join(lines), done, left)


def report(mended: Mended, folder: str, style: str) -> str:
    """Write the migration into a folder, as its next, unless the folder is `-`; return what to tell.

    Raises:
        OSError: The file cannot be written.
    """
    path = None
    if mended.text and folder != PRINTED:
        path = files.next_path(Path(folder), _TITLE)
        with path.open("x", encoding="utf-8") as file:
            file.write(mended.text)
    if style == "json":
        return json.dumps(_as_dict(mended, path), indent=2)
    return "\n".join(_told(mended, path))


def _as_dict(mended: Mended, path: Path | None) -> dict[str, object]:
    done, left = (
        [{"rule": one.rule.id, "name": one.found.name} for one in each] for each in (mended.done, mended.left)
    )
    return {"path": str(path) if path else None, "sql": mended.text, "mended": done, "left": left}


def _told(mended: Mended, path: Path | None) -> Iterator[str]:
    if path:
        yield f"{path}: mends {_counts(mended.done)}; read it, then `cloudlab migrate up --dir {path.parent}`"
    elif mended.text:
        yield mended.text
    else:
        yield "nothing that can be mended without a decision"
    if mended.left:
        yield f"yours to decide: {_counts(mended.left)}; `cloudlab rules ID` says how"


def _counts(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.rule.id for finding in findings)
    return ", ".join(f"{rule} {count}" for rule, count in sorted(counts.items()))


def _statements(finding: Finding) -> Iterator[str]:
    """Yield the SQL of a finding's own remedy, or the lines that do it online; nothing if it is words for humans."""
    if not finding.rule.mends or "…" in finding.found.remedy:
        return
    try:
        parsed = postgast.parse(finding.found.remedy)
    except postgast.PgQueryError:
        return
    # A migration is of one schema: it does not change the server for everybody.
    if any(raw.stmt.HasField("alter_system_stmt") for raw in parsed.stmts):
        return
    lines = [(raw, _online(raw)) for raw in parsed.stmts]
    # What writes a table anew is done online or not at all.
    if any(_rewrites(raw) and not online for raw, online in lines):
        return
    for raw, online in lines:
        yield from online or [_alone(raw)]


def _online(raw: pb.RawStmt) -> list[str]:
    node = raw.stmt.index_stmt if raw.stmt.HasField("index_stmt") else raw.stmt.alter_table_stmt
    # A line of the engine is for tables of the schema that is migrated; others keep their names.
    if (raw.stmt.HasField("index_stmt") or _rewrites(raw)) and not node.relation.schemaname:
        return list(instead.of(node))
    return []


def _rewrites(raw: pb.RawStmt) -> bool:
    commands = [each.alter_table_cmd for each in raw.stmt.alter_table_stmt.cmds]
    return any(command.subtype == pb.AT_AlterColumnType for command in commands)


def _alone(raw: pb.RawStmt) -> str:
    statement = pb.ParseResult()
    statement.stmts.add().stmt.CopyFrom(raw.stmt)
    return postgast.deparse(statement) + ";"
