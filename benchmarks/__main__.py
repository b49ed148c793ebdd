"""Measure CloudLab against the floor of the same run.

Each line shows a figure, its floor (the same work without CloudLab, usually by pgbench), their ratio, and what the
design asks for. Servers of its own are started, durable and on a real disk, and deleted at the end. Nothing else should
run on the machine meanwhile; figure and floor are measured in turns, so that what runs anyway hits both.

examples:
  python -m benchmarks                             everything, about five minutes
  python -m benchmarks --quick                     the heaviest case of each, under a minute
  python -m benchmarks --only orders --only cache  some of them
  python -m benchmarks --full --only pages         a million orders instead of 100,000
  python -m benchmarks --full --only rewrite       a table of 5 million rows is rewritten, 15 minutes
  python -m benchmarks --json > today.json         for machines
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from types import ModuleType

from benchmarks import (
    cache,
    check,
    events,
    lab,
    machine,
    migrations,
    moves,
    orders,
    pages,
    projections,
    report,
    rewriting,
    sagas,
    sessions,
    stack,
    tenancy,
)
from benchmarks.measure import Pace, Row

ALL: dict[str, ModuleType] = {
    module.NAME: module
    for module in (
        orders,
        events,
        projections,
        sagas,
        sessions,
        tenancy,
        moves,
        pages,
        cache,
        check,
        stack,
        migrations,
        rewriting,
    )
}


def main() -> int:
    """Run what was asked for; 130 when interrupted, and then too nothing is left behind."""
    options = _parser().parse_args()
    pace = Pace(
        rounds=options.rounds or (3 if options.quick else 5),
        seconds=options.seconds or (0.3 if options.quick else 1.0),
        quick=options.quick,
        full=options.full,
        patience_seconds=options.patience,
    )
    try:
        asyncio.run(_run([ALL[name] for name in options.only or ALL], pace, as_json=options.json))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.stderr.write("interrupted; everything was removed\n")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=ALL, metavar="NAME", help=f"run this one: {', '.join(ALL)}")
    parser.add_argument("--quick", action="store_true", help="short rounds of the heaviest cases")
    parser.add_argument("--full", action="store_true", help="more rows where depth matters")
    parser.add_argument("--json", action="store_true", help="print JSON when everything is done")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each comparison (default: 5; quick: 3)")
    parser.add_argument("--seconds", type=float, metavar="S", help="length of a slice (default: 1; quick: 0.3)")
    parser.add_argument(
        "--patience", type=float, default=0.0, metavar="S", help="wait so long for an idle machine before each round"
    )
    return parser


async def _run(chosen: list[ModuleType], pace: Pace, *, as_json: bool) -> None:
    task = asyncio.current_task()
    if task:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    found: list[Row] = []
    async with lab.running() as here:
        described = machine.describe(here)
        _tell(report.header(described), as_json)
        for module in chosen:
            _tell(report.title(module.NAME, module.METHOD), as_json)
            async with contextlib.aclosing(module.rows(here, pace)) as rows:
                async for row in rows:
                    found.append(row)
                    _tell(report.line(row), as_json)
    _tell(report.summary(found), as_json)
    if as_json:
        print(
            json.dumps(
                {"machine": described, "rows": [report.as_dict(row) for row in found]}, indent=2, ensure_ascii=False
            )
        )


def _tell(text: str, as_json: bool) -> None:
    """Show progress where it does not disturb: beside the JSON, not in it."""
    print(text, file=sys.stderr if as_json else sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main())
