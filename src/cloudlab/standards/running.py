"""Running a check: reading the targets, asking the rules, leaving out what is known, writing the report.

Standard: §11 Best Practices
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cloudlab.errors import InvalidInput
from cloudlab.standards import (
    baseline,
    changed,
    checking,
    choices,
    explaining,
    poolers,
    report,
    rules,
    suppressing,
    targets,
)
from cloudlab.standards.catalog import Catalog
from cloudlab.standards.files import Source, is_database
from cloudlab.standards.order import Order
from cloudlab.standards.results import Result
from cloudlab.standards.rule import Answer, Deployment, Finding, Fleet, Level, Rule, Server
from cloudlab.standards.scripts import Script

_FAILS = {Level.ERROR: {Level.ERROR}, Level.WARNING: {Level.ERROR, Level.WARNING}, Level.NOTE: set(Level)}


def run(order: Order, sources: Sequence[Source]) -> Result:
    """Do what is asked; `sources` are the files of the targets.

    Raises:
        InvalidInput: There is no such format, or the options contradict each other.
        NotFound: There is no such rule or baseline.
        ConfigError: The choices of the project cannot be read.
        Unavailable: The database cannot be reached.
    """
    if order.style not in report.FORMATS:
        raise InvalidInput(f"{order.style!r} is no format", hint=f"Choose one of {', '.join(report.FORMATS)}.")
    if order.write_baseline and not order.baseline:
        raise InvalidInput("--write-baseline needs --baseline FILE", hint="It says which file to write.")
    if order.explain:
        return Result("\n".join(_explained(order, sources)), failed=False)
    findings = _of_project(order, sources)
    if order.write_baseline:
        Path(order.baseline).write_text(baseline.written(findings), encoding="utf-8")
        return Result(f"{len(findings)} findings written to {order.baseline}", failed=False)
    if order.baseline:
        findings = baseline.unknown(findings, baseline.read(Path(order.baseline)))
    if order.since:
        findings = changed.only(findings, changed.files(order.since, Path.cwd()))
    if order.fix:
        from cloudlab.standards import mending  # noqa: PLC0415  a check alone needs no migration engine

        mended = mending.mend(findings, datetime.now(UTC).date())
        return Result(mending.report(mended, order.fix, order.style), failed=False)
    failed = any(finding.level in _FAILS[Level(order.fail_on)] for finding in findings)
    return Result(report.FORMATS[order.style](findings), failed)


def _of_project(order: Order, sources: Sequence[Source]) -> Sequence[Finding]:
    """Return the findings that neither a comment nor the choices of the project leave out."""
    project = choices.load(Path.cwd())
    chosen = replace(project, select=order.select or project.select, ignore=(*project.ignore, *order.ignore))
    asked = chosen.rules()
    scripts = targets.scripts(sources)
    catalog, found = _of_databases(order, asked)
    if scripts:
        answers = _answers(order, scripts, catalog) if catalog and any(rule.asks for rule in asked) else None
        found += checking.of_files(scripts, catalog, asked, answers)
    if catalog and scripts and any(rule.deployed for rule in asked):
        found += checking.of_deployments(_deployments(order, scripts, catalog), asked)
    for pooler in poolers.read_poolers(sources):
        found += checking.of_pooler(pooler, asked)
    left = suppressing.applied(found, scripts, {rule.id for rule in asked}, datetime.now(UTC).date())
    return checking.by_place(checking.once(chosen.applied(left)))


def _of_databases(order: Order, asked: Sequence[Rule]) -> tuple[Catalog | None, list[Finding]]:
    """Return what is found in the databases, and the schema of the last one."""
    catalogs, found = dict[str, Catalog](), list[Finding]()
    for url in filter(is_database, order.targets):
        catalogs[url], server = _read(url)
        found += checking.of_schema(catalogs[url], asked)
        found += checking.of_server(server, asked)
    if len(catalogs) > 1 and any(rule.fleet for rule in asked) and (fleet := _fleet(catalogs)):
        found += checking.of_fleet(fleet, asked)
    return next(reversed(catalogs.values()), None), found


def _read(url: str) -> tuple[Catalog, Server]:
    import asyncio  # noqa: PLC0415  a file is checked without what talks to databases

    from cloudlab.standards import reading  # noqa: PLC0415

    return asyncio.run(reading.read(url))


def _fleet(catalogs: Mapping[str, Catalog]) -> Fleet | None:
    import asyncio  # noqa: PLC0415  a file is checked without what talks to databases

    from cloudlab.standards import fleets  # noqa: PLC0415

    return asyncio.run(fleets.read(catalogs))


def _answers(order: Order, scripts: Sequence[Script], catalog: Catalog) -> Mapping[int, Answer]:
    """Ask the last of the databases for the plans of the queries."""
    import asyncio  # noqa: PLC0415  a file is checked without what talks to databases

    from cloudlab.standards import asking  # noqa: PLC0415

    *_, url = filter(is_database, order.targets)
    return asyncio.run(asking.ask(url, asking.queries(scripts), catalog, checking.folded(scripts)))


def _deployments(order: Order, scripts: Sequence[Script], catalog: Catalog) -> Sequence[Deployment]:
    """Ask the last of the databases which of the migrations it has; its schema is changed by what is still to come."""
    migrations = checking.migrations_of(scripts)
    if not migrations:
        return ()
    import asyncio  # noqa: PLC0415  a file is checked without what talks to databases

    from cloudlab.standards import deploying  # noqa: PLC0415

    *_, url = filter(is_database, order.targets)
    return asyncio.run(deploying.read(url, migrations, catalog))


def _explained(order: Order, sources: Sequence[Source]) -> Iterator[str]:
    rule = rules.named(order.explain)
    urls = list(filter(is_database, order.targets))
    yield f"{rule.id} {rule.title}"
    yield from explaining.explain(rule, targets.scripts(sources), _read(urls[-1])[0] if urls else None)
