"""pgbench: PostgreSQL's own load generator, written in C. What it reaches with our statements is the floor.

It runs on the same machine and shares its cores with the server, as the Python client does.
"""

import asyncio
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from benchmarks.lab import FIRST, PREFIX, Lab
from benchmarks.measure import Sample
from benchmarks.processor import Used
from cloudlab.embedded.postgres import find_binaries

_PROCESSED = re.compile(r"actually processed: (\d+)")
_RATE = re.compile(r"tps = ([\d.]+)")
_LATENCY = re.compile(r"latency average = ([\d.]+)")
_DRAW = re.compile(r"^\\draw (\w+) (\d+)$", re.MULTILINE)
_IDENTIFIER = re.compile(r"#([a-z]\w*)")
_FAILED = re.compile(r"failed transactions: [1-9]")


class Load:
    """A script that so many clients run as one of the logins, each statement prepared once by each client.

    In it, `\\draw name 1000` draws one of the first 1,000 identifiers (see lab.numbered), and `#name` stands for it.

    Connecting costs milliseconds of processor time for each client (the password is hashed 4,096 times), so it is
    measured once and left out.
    """

    def __init__(
        self,
        lab: Lab,
        script: str,
        *,
        clients: int = 1,
        url: str = "",
        units: int = 1,
        variables: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._lab, self._script, self._clients, self._units = lab, _spelled_out(script), clients, units
        self._variables = [f"--define={name}={value}" for name, value in (variables or {}).items()]
        self._environment = _environment(url or lab.urls.app_url, settings or {})
        self._connecting: tuple[float, float] | None = None
        self._each = 25

    async def __call__(self, seconds: float) -> Sample:
        """Run for whole seconds; for less, which pgbench cannot, as many transactions as should take that long."""
        if self._connecting is None:
            self._connecting = await self._connect()
        meter = self._lab.meter()
        said = await self._run(f"--time={seconds:.0f}" if seconds >= 1 else f"--transactions={self._each}")
        used = meter.read()
        rate, done = float(_found(_RATE, said)), int(_found(_PROCESSED, said)) * self._units
        self._each = max(25, round(rate * seconds / self._clients))
        return Sample(
            rate=rate * self._units,
            client_us=1e6 * max(0.0, used.client - self._connecting[0]) / done,
            server_us=1e6 * max(0.0, used.server - self._connecting[1]) / done,
            others=used.others,
        )

    async def _connect(self) -> tuple[float, float]:
        """Return the client's and the server's processor time for connecting: the least of three runs, in seconds."""
        runs: list[Used] = []
        for _ in range(3):
            meter = self._lab.meter()
            await self._run("--transactions=1")
            runs.append(meter.read())
        return min(used.client for used in runs), min(used.server for used in runs)

    async def _run(self, how_long: str) -> str:
        binaries = find_binaries()
        with tempfile.TemporaryDirectory(prefix="script-", dir=self._lab.folder) as folder:
            file = Path(folder) / "script.sql"
            file.write_text(self._script)
            process = await asyncio.create_subprocess_exec(
                binaries.program("pgbench"), "--no-vacuum", "--protocol=prepared", how_long,
                f"--client={self._clients}", f"--jobs={min(self._clients, os.cpu_count() or 1)}",
                f"--file={file}", *self._variables,
                env=binaries.environment() | self._environment,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            try:
                output, _ = await process.communicate()
            except asyncio.CancelledError:
                process.kill()
                await process.wait()
                raise
        said = output.decode()
        if process.returncode or _FAILED.search(said):
            raise RuntimeError(f"pgbench failed:\n{said}")
        return said


def _spelled_out(script: str) -> str:
    drawn = _DRAW.sub(lambda found: f"\\set {found[1]} random({FIRST}, {FIRST + int(found[2]) - 1})", script)
    return _IDENTIFIER.sub(rf"('{PREFIX}' || :\1)::uuid", drawn)


def _environment(url: str, settings: Mapping[str, str]) -> dict[str, str]:
    names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD"}
    given = {names[key]: str(value) for key, value in conninfo_to_dict(url).items() if key in names}
    return given | {"PGOPTIONS": " ".join(f"-c {name}={value}" for name, value in settings.items())}


def _found(pattern: re.Pattern[str], said: str) -> str:
    match = pattern.search(said)
    if match is None:
        raise RuntimeError(f"pgbench said no {pattern.pattern}:\n{said}")
    return match[1]
