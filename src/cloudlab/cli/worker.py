"""`cloudlab worker`: the loops behind the requests.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

import asyncio
import json
import logging
import signal
import sys
from typing import Annotated

import typer

from cloudlab import config as configuration
from cloudlab.cli.shopkeeping import chores, gateway_of
from cloudlab.cli.terminal import CHECK_FAILED, Json, err, print_json, run
from cloudlab.platform import Platform
from cloudlab.shop import readmodels
from cloudlab.shop.checkout import Checkout
from cloudlab.worker import Worker

log = logging.getLogger(__name__)

_STANDARD = frozenset(vars(logging.makeLogRecord({})))


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one record."""
        given = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        line = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line | given, default=str)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send the package's log to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler])


def worker(
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End when everything committed so far has been applied.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the projections, sagas and chores of every shard, and keep partitions ahead, until interrupted.

    Any number of workers may run: each projection of each shard is advanced by one at a time. SIGTERM and Ctrl-C end it
    cleanly; kill -9 loses nothing, the next worker goes on.

    Examples: `cloudlab worker` · `cloudlab worker --until-caught-up --json`
    """
    log_to_stderr()
    events = run(_work(until_caught_up))
    if events is None and until_caught_up:
        err.print("ended before everything was applied; the next worker goes on from there")
        raise typer.Exit(CHECK_FAILED)
    if as_json and until_caught_up:
        print_json({"events": events})
    elif until_caught_up:
        err.print(f"caught up: {events} events")


async def _work(until_caught_up: bool) -> int | None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        config = configuration.load()
        async with gateway_of(config) as gateway:
            checkout = Checkout(gateway)
            async with Platform.open(config, projections=readmodels.ALL, sagas=checkout.definitions) as platform:
                worker = Worker(platform, chores=chores(config, gateway, checkout))
                if until_caught_up:
                    return await worker.run_until_caught_up()
                await worker.run()
    except asyncio.CancelledError:
        log.info("worker ended by a signal")
    return None
