"""The report: figure, floor, ratio and target side by side, for people and as JSON."""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.measure import Row, Spread

_WIDTH = 118
_BUSY = 0.25
_LINE = "  {:<46} {:>21} {:>21} {:>17} {:>8}"


def header(machine: dict[str, Any]) -> str:
    """Describe the machine in a few lines."""
    server = machine["postgresql"]
    durable = ", ".join(f"{name} {server[name]}" for name in ("fsync", "synchronous_commit", "full_page_writes"))
    return (
        f"{machine['cores']} cores {machine['cpu']}, {machine['memory_gib']} GiB, {machine['kernel']}, "
        f"Python {machine['python']}, load {machine['load_average']}\n"
        f"PostgreSQL {server['server_version']} over a unix socket, {durable}, on {machine['file_system']}: "
        f"fdatasync {machine['fdatasync_us']} µs\n"
        "Client and server share these cores. Median (least … greatest) of the rounds; each ratio is of one round."
    )


def title(name: str, method: str) -> str:
    """Introduce a benchmark: its name, its method, the columns."""
    told = textwrap.fill(method, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    return f"\n{name}\n{told}\n" + _LINE.format("", "figure", "floor", "ratio", "target")


def line(row: Row) -> str:
    """Show one row, its spread below it, and what it cost."""
    what = textwrap.wrap(row.what, 46)
    target = f"{row.target.bound} {_number(row.target.value)}" if row.target else ""
    verdict = {True: "  met", False: "  MISSED", None: ""}[row.met]
    unit = row.unit if row.unit == "/s" else f" {row.unit}".rstrip()
    cells = (_middle(row.figure, unit), _middle(row.floor, unit), _middle(row.ratio, ""), target)
    spreads = (_range(row.figure), _range(row.floor), _range(row.ratio))
    first = _LINE.format(what[0], *cells) + verdict
    second = _LINE.format(" ".join(what[1:]), *spreads, "").rstrip()
    told = textwrap.fill(row.detail, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(part for part in (first, second, told) if part)


def summary(rows: Sequence[Row]) -> str:
    """Say how many targets were met, and whether the machine was quiet enough to believe it."""
    judged = [row for row in rows if row.met is not None]
    text = f"\n{sum(row.met is True for row in judged)} of {len(judged)} targets met."
    busy = sum(row.others > _BUSY for row in rows)
    if not busy:
        return text
    return (
        f"{text} {busy} of {len(rows)} rows were measured while others used more than {_BUSY:.0%} of the machine.\n"
        "A lone Python process then gets less of it than a floor of many: measure again when it is idle."
    )


def _middle(spread: Spread | None, unit: str) -> str:
    return f"{_number(spread.middle)}{unit}" if spread else "-"


def _range(spread: Spread | None) -> str:
    return (
        f"({_number(spread.least)} … {_number(spread.greatest)})" if spread and spread.least < spread.greatest else ""
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 10 else f"{value:.2f}"


def as_dict(row: Row) -> dict[str, Any]:
    """Return a row as JSON has it, with whether its target was met."""
    return asdict(row) | {"met": row.met}
