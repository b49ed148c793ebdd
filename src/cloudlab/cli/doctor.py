"""`cloudlab doctor`: what is wrong with this installation, and how to mend it.

Standard: §10.1 Health Checks
"""

import os
from dataclasses import asdict
from pathlib import Path

import typer
from rich.table import Table

from cloudlab import config as configuration
from cloudlab import embedded
from cloudlab.cli.terminal import CHECK_FAILED, Json, out, print_json, run
from cloudlab.config import Config
from cloudlab.embedded import Diagnosis

_STYLES = {"OK": "green", "WARNING": "yellow", "CRITICAL": "bold red", "UNKNOWN": "magenta"}


def doctor(as_json: Json = False) -> None:
    """Check programs, disk, servers, logins and durability; exit code 1 when anything is CRITICAL.

    It checks the servers that cloudlab.toml or the environment name, otherwise the embedded stack.

    Examples: `cloudlab doctor` · `cloudlab doctor --json` · `CLOUDLAB_CONFIG=production.toml cloudlab doctor`
    """
    found = run(embedded.doctor(_target()))
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        _show(found)
    if any(one.level == "CRITICAL" for one in found):
        raise typer.Exit(CHECK_FAILED)


def _target() -> Path | Config:
    named = Path(configuration.CONFIG_FILE).exists() or not {"CLOUDLAB_CONFIG", "CLOUDLAB_CONTROL_APP_URL"}.isdisjoint(
        os.environ
    )
    return configuration.load() if named else configuration.state_dir()


def _show(found: list[Diagnosis]) -> None:
    """Print every check, then what to do about each that is not well."""
    table = Table("check", "level", "found")
    for one in found:
        table.add_row(one.check, f"[{_STYLES[one.level]}]{one.level}[/]", one.message)
    out.print(table)
    for one in found:
        if one.remedy:
            out.print(f"[{_STYLES[one.level]}]{one.check}[/]: {one.remedy}")
    if all(one.level == "OK" for one in found):
        out.print("All is well.")
