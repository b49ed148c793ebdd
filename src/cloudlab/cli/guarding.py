"""Before `cloudlab migrate up`, `down` or `redo` runs anything: what each statement locks and costs, what is refused.

Standard: §6.2 Zero-Downtime Migrations
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

from cloudlab.cli import losing
from cloudlab.cli.losing import Loss
from cloudlab.errors import CloudLabError, InvalidInput, MigrationError
from cloudlab.schema import online, online_operations
from cloudlab.schema.files import Migration, Section, Tree
from cloudlab.schema.online_steps import Phase
from cloudlab.schema.places import Target
from cloudlab.schema.postgres import PLATFORM_SCHEMA, Reasons
from cloudlab.schema.runner import Applied, Direction
from cloudlab.schema.targets import TargetResult
from cloudlab.standards import reading, safety
from cloudlab.standards.safety import Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """Places of one database where the same migrations would run, what was found about them and what they destroy."""

    results: list[TargetResult]
    verdicts: list[Verdict]
    losses: list[Loss] = field(default_factory=list[Loss])

    @property
    def where(self) -> str:
        """The places, in a few words."""
        first = self.results[0].target.name
        return first if len(self.results) == 1 else f"{first} and {len(self.results) - 1} more"

    def of(self, applied: Applied) -> list[Verdict]:
        """Return the statements of one way of one migration."""
        found = [one for one in self.verdicts if one.migration.version == applied.version]
        return [one for one in found if one.line in _lines(one.migration, applied.direction)]

    def lost_by(self, verdict: Verdict) -> list[Loss]:
        """Return what a statement destroys."""
        return [one for one in self.losses if (one.migration, one.line) == (verdict.migration, verdict.line)]


def _lines(migration: Migration, direction: Direction) -> set[int]:
    return {one.line for one in _section(migration, direction).statements}


def _section(migration: Migration, direction: Direction) -> Section:
    return migration.up if direction is Direction.UP else migration.down


async def judge(plan: Sequence[TargetResult], brief_ms: int) -> list[Judged]:
    """Judge what would run in each place against the tables that it holds now; places without work are left out.

    Cost: a connection and about fifteen queries for each group of places that lack the same, none without work. The
    catalog of its first place is read, the sizes of all.
    """
    judged: list[Judged] = []
    for key, results in _alike(plan):
        url, source, _ = key
        first = results[0].target
        if source is Tree.CLICKHOUSE:
            judged.append(Judged(results, []))
            continue
        files = _sections(results[0])
        schemas = [result.target.schema for result in results]
        async with reading.connect(url) as conn:
            catalog = await reading.read_schema(conn, [first.schema, *_named(files)])
            sizes = await reading.read_sizes(conn, schemas)
        lost = losing.losses(files, catalog, sizes)  # before judging: that makes the catalog what the files leave
        verdicts = safety.judge(files, catalog, sizes, brief_ms / 1000)
        verdicts = [await _with_steps(one, first) if one.online else one for one in verdicts]
        judged.append(Judged(results, safety.excused(verdicts, datetime.now(UTC).date()), lost))
    return judged


def _sections(result: TargetResult) -> list[tuple[Migration, Section]]:
    """Return the files of a plan in its order, each with the section that would run."""
    files = {file.version: file for file in result.target.files}
    return [(files[one.version], _section(files[one.version], one.direction)) for one in result.applied]


async def _with_steps(verdict: Verdict, target: Target) -> Verdict:
    """Say what the steps of an online operation lock; nothing where its table is yet to be made."""
    operation, phase = online_operations.read(verdict.online)
    try:
        steps = await online.plan(target.url, operation, schema=target.schema)
    except CloudLabError:
        return verdict
    wanted = [step for step in steps if phase is not Phase.EXPAND or step.phase is Phase.EXPAND]
    return replace(verdict, steps=tuple(f"{step.name}: {step.lock}" for step in wanted))


_Key = tuple[str, object, tuple[tuple[str, Direction], ...]]


def _alike(plan: Sequence[TargetResult]) -> list[tuple[_Key, list[TargetResult]]]:
    def key(result: TargetResult) -> _Key:
        return result.target.url, result.target.source, tuple((one.version, one.direction) for one in result.applied)

    found: dict[_Key, list[TargetResult]] = {}
    for same, results in groupby((result for result in plan if result.applied), key):
        found.setdefault(same, []).extend(results)
    return list(found.items())


def _named(files: Sequence[tuple[Migration, Section]]) -> list[str]:
    """Return other schemas whose tables the files may touch: ours, and each that stands before a dot."""
    words = {
        name for _, section in files for statement in section.statements
        for name in safety.schemas(statement.text)
    }  # fmt: skip
    return [PLATFORM_SCHEMA, *sorted(words - {PLATFORM_SCHEMA})]


def allowed(judged: Sequence[Judged], unsafe: str | None) -> Reasons:
    """Return the reason to be noted with each dangerous file; none where nothing is dangerous.

    Raises:
        InvalidInput: The reason says nothing.
        MigrationError: Something is dangerous and no reason was given; each statement is named, with what does it
            safely.
    """
    if unsafe is not None and not unsafe.strip():
        raise InvalidInput("--unsafe needs a reason", hint="It is kept in schema_migrations.")
    dangerous = [(group, one) for group in judged for one in group.verdicts if one.dangers]
    if dangerous and unsafe is None:
        raise MigrationError(
            f"{len(dangerous)} statements would make others wait, or fail; nothing was run",
            hint='Write the lines above into a section with transaction:false, or run it with --unsafe "REASON"; '
            "--brief MS lets through what is over sooner.",
            details="\n".join(_said(group, one) for group, one in dangerous),
        )
    reasons: dict[Path, list[str]] = {}
    for group in judged:
        for one in group.verdicts:
            because = [*one.excused, *(f"{danger.rule.id}: {(unsafe or '').strip()}" for danger in one.dangers)]
            if because:
                reasons.setdefault(one.migration.path, []).extend(because)
    return {path: "; ".join(dict.fromkeys(each)) for path, each in reasons.items()}


def _said(group: Judged, one: Verdict) -> str:
    where = f"{one.migration.path}:{one.line}: {group.where}"
    lines = [f"{where}: {danger.rule.id} {danger.found.message} ({one.what})" for danger in one.dangers]
    return "\n".join([*lines, *(f"    safely: {line}" for line in one.instead or (one.dangers[0].remedy,))])


def lost(judged: Sequence[Judged]) -> list[str]:
    """Return what would be destroyed, a line for each, with the place."""
    return [f"{group.where}: {one}" for group in judged for one in group.losses]


def as_dicts(judged: Sequence[Judged]) -> list[dict[str, object]]:
    """Return what was found for a machine."""
    return [
        {
            "targets": [result.target.name for result in group.results],
            "statements": [_as_dict(one) for one in group.verdicts],
            "losses": [{"version": one.migration.version, "line": one.line, "what": one.what} for one in group.losses],
        }
        for group in judged
    ]


def _as_dict(one: Verdict) -> dict[str, object]:
    return {
        "version": one.migration.version,
        "line": one.line,
        "sql": one.sql,
        "touched": [
            {
                "table": each.table,
                "lock": each.lock,
                "work": each.work,
                "size_bytes": each.size_bytes,
                "estimated_seconds": round(each.seconds, 3),
                "waiting": each.waiting,
            }
            for each in one.touched
        ],
        "dangers": [{"rule": each.rule.id, "message": each.found.message} for each in one.dangers],
        "instead": list(one.instead),
        "excused": list(one.excused),
        "steps": list(one.steps),
    }


def commented(group: Judged, applied: Applied) -> str:
    """Return the SQL of a migration, before each statement what it locks and costs, and why it is refused."""
    parts: list[str] = []
    for one in group.of(applied):
        parts.append(f"-- line {one.line}: {one.what}")
        parts += [
            f"-- loses {loss.what}"
            for loss in group.losses
            if loss.migration is one.migration and loss.line == one.line
        ]
        parts += [f"--   {step}" for step in one.steps]
        parts += [f"-- {danger.rule.id}: {danger.found.message}" for danger in one.dangers]
        parts += [f"-- excused by the file, {why}" for why in one.excused]
        parts += [f"-- safely: {line}" for line in one.instead if one.dangers]
        parts.append(one.sql if one.online else f"{one.sql};")
    return "\n".join(parts)
