"""pgbench: PostgreSQL's own load generator, written in C. What it reaches with our statements is the floor.

It runs on the same machine and shares its cores with the server, as the Python client does. It connects anew in every
slice, so each client's first transactions, in which the server learns the statements, are left out.
"""

import asyncio
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from psycopg.conninfo import conninfo_to_dict

from benchmarks.lab import FIRST, PREFIX, Lab
from benchmarks.measure import LEARNING, Sample, percentile_ms
from benchmarks.processor import Meter, Reading
from cloudlab.embedded.postgres import find_binaries

_FEWEST = 25
_READ_EVERY_SECONDS = 0.1
_DRAW = re.compile(r"^\\draw (\w+) (\d+)$", re.MULTILINE)
_IDENTIFIER = re.compile(r"#([a-z]\w*)")
_FAILED = re.compile(r"failed transactions: [1-9]")


@dataclass(frozen=True, slots=True)
class _Transaction:
    """One line of pgbench's log: which client, when it had ended, in seconds since 1970, and how long it took."""

    client: int
    ended: float
    seconds: float


class Load:
    """A script that so many clients run as one of the logins, each statement prepared once by each client.

    In it, `\\draw name 1000` draws one of the first 1,000 identifiers (see lab.numbered), and `#name` stands for it.
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
        self._each = _FEWEST

    async def __call__(self, seconds: float) -> Sample:
        """Run for whole seconds; for less, which pgbench cannot, as many transactions as should take that long."""
        done, readings = await self._run(f"--time={seconds:.0f}" if seconds >= 1 else f"--transactions={self._each}")
        began, ended = _steady(done, self._clients)
        steady = [one for one in done if began < one.ended <= ended]
        rate, latencies = len(steady) / (ended - began), [one.seconds for one in steady]
        self._each = max(_FEWEST, round(rate * seconds / self._clients))
        client_us, server_us, others = self._cost(done, [one for one in readings if began <= one.at <= ended])
        return Sample(
            rate=rate * self._units,
            client_us=client_us,
            server_us=server_us,
            p50_ms=percentile_ms(latencies, 0.50),
            p99_ms=percentile_ms(latencies, 0.99),
            others=others,
        )

    def _cost(self, done: list[_Transaction], readings: list[Reading]) -> tuple[float, float, float]:
        """Return the processor time of a unit, in microseconds, and what others used; zeros for too short a slice."""
        if len(readings) < 2:
            return 0.0, 0.0, 0.0
        first, last = readings[0], readings[-1]
        units = self._units * sum(first.at < one.ended <= last.at for one in done) or 1
        client, server = last.client - first.client, last.server - first.server
        return 1e6 * client / units, 1e6 * server / units, last.others(first)

    async def _run(self, how_long: str) -> tuple[list[_Transaction], list[Reading]]:
        binaries = find_binaries()
        with tempfile.TemporaryDirectory(prefix="pgbench-", dir=self._lab.folder) as folder:
            file = Path(folder) / "script.sql"
            file.write_text(self._script)
            process = await asyncio.create_subprocess_exec(
                binaries.program("pgbench"), "--no-vacuum", "--protocol=prepared", how_long,
                f"--client={self._clients}", f"--jobs={min(self._clients, os.cpu_count() or 1)}",
                f"--file={file}", "--log", f"--log-prefix={folder}/log", *self._variables,
                env=binaries.environment() | self._environment,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
            readings: list[Reading] = []
            watching = asyncio.create_task(_watch(Meter(self._lab.server_pid, process.pid), readings))
            try:
                output, _ = await process.communicate()
            except asyncio.CancelledError:
                process.kill()
                await process.wait()
                raise
            finally:
                watching.cancel()
            said = output.decode()
            if process.returncode or _FAILED.search(said):
                raise RuntimeError(f"pgbench failed:\n{said}")
            lines = [line for log in Path(folder).glob("log.*") for line in log.read_text().splitlines()]
            return [_transaction(line) for line in lines], readings


async def _watch(meter: Meter, readings: list[Reading]) -> None:
    with suppress(psutil.Error):
        while True:
            readings.append(meter.read())
            await asyncio.sleep(_READ_EVERY_SECONDS)


def _spelled_out(script: str) -> str:
    drawn = _DRAW.sub(lambda found: f"\\set {found[1]} random({FIRST}, {FIRST + int(found[2]) - 1})", script)
    return _IDENTIFIER.sub(rf"('{PREFIX}' || :\1)::uuid", drawn)


def _environment(url: str, settings: Mapping[str, str]) -> dict[str, str]:
    names = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE", "user": "PGUSER", "password": "PGPASSWORD"}
    given = {names[key]: str(value) for key, value in conninfo_to_dict(url).items() if key in names}
    return given | {"PGOPTIONS": " ".join(f"-c {name}={value}" for name, value in settings.items())}


def _transaction(line: str) -> _Transaction:
    client, _, microseconds, _, epoch, rest = line.split()[:6]
    return _Transaction(int(client), int(epoch) + int(rest) / 1e6, int(microseconds) / 1e6)


def _steady(done: list[_Transaction], clients: int) -> tuple[float, float]:
    """Return the time in which the clients had learnt and none had ended.

    Where there is no such time, because behind a lock one client ends before another has begun, it is until the end.
    """
    ends = sorted(one.ended for one in done)
    last = {one.client: one.ended for one in sorted(done, key=lambda one: one.ended)}
    began = ends[min(LEARNING * clients, len(ends) // 2) - 1]
    return began, min(last.values()) if min(last.values()) > began else ends[-1]
