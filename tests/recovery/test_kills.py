"""kill -9 of the import, the worker and PostgreSQL at random moments: the same totals, nothing doubled, nothing lost.

Standard: §11.1 Design Principles
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from cloudlab.shop import sample

CLOUDLAB = Path(sys.executable).parent / "cloudlab"
ORDERS = 150


class Home:
    """An embedded stack in a folder of its own, and commands that run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDLAB_")}
        self.environment = kept | {"CLOUDLAB_STATE_DIR": str(folder / "state")}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [CLOUDLAB, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=180)
        assert process.returncode == 0, f"{arguments}: {out}{err}"
        return out

    def kill(self, process: "subprocess.Popen[str]", after_seconds: float) -> None:
        """Kill a command at this moment; it must not have ended by then, or the test would prove nothing."""
        time.sleep(after_seconds)
        process.kill()
        process.communicate(timeout=30)
        assert process.returncode == -signal.SIGKILL

    def postmaster(self) -> int:
        servers = json.loads(self.run("status", "--json"))
        return next(server["pid"] for server in servers if server["name"] == "postgres")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = Home(tmp_path_factory.mktemp("recovery"))
    made.run("up")
    yield made
    made.run("down", "--purge", "--yes")


def check(report: str, orders: int) -> None:
    """Both shops hold exactly the generated year, in both databases, and every promise holds."""
    found = json.loads(report)
    assert found["is_green"], [each for each in found["invariants"] if not each["holds"]]
    for tenant, seed in zip(found["tenants"], (7, 8), strict=True):
        dataset = sample.generate(seed=seed, orders=orders)
        revenue = sum((order.total_amount for order in dataset.orders), Decimal(0))
        assert (tenant["orders"], tenant["lines"]) == (dataset.order_count, dataset.line_count)
        assert Decimal(tenant["revenue"]["amount"]) == revenue


def test_an_import_that_is_killed_three_times_is_finished_by_the_next(home: Home):
    choice = random.Random()
    for _ in range(3):
        home.kill(home.start("demo", "--orders", str(ORDERS), "--json"), choice.uniform(1.2, 2.0))
    check(home.run("demo", "--orders", str(ORDERS), "--json"), ORDERS)
    check(home.run("demo", "--orders", str(ORDERS), "--json"), ORDERS)


def test_a_worker_that_is_killed_three_times_loses_and_doubles_nothing(home: Home):
    choice = random.Random()
    trade = home.start("demo", "--orders", str(3 * ORDERS), "--json")
    for _ in range(3):
        home.kill(home.start("worker"), choice.uniform(0.7, 1.5))
    out, err = trade.communicate(timeout=180)
    assert trade.returncode == 0, out + err
    check(out, 3 * ORDERS)
    assert json.loads(home.run("worker", "--until-caught-up", "--json")) == {"events": 0}


def test_a_postgres_that_is_killed_three_times_only_interrupts_the_import(home: Home):
    choice = random.Random()
    orders = 6 * ORDERS
    trade = home.start("demo", "--orders", str(orders), "--json")
    kills = 0
    while trade.poll() is None and kills < 3:
        time.sleep(choice.uniform(0.8, 1.6))
        os.kill(home.postmaster(), signal.SIGKILL)
        kills += 1
        home.run("up")
    out, err = trade.communicate(timeout=240)
    assert kills > 0
    # Killed while it only checks, the command may end with an error; what it had loaded must be whole all the same.
    assert trade.returncode in (0, 3), out + err
    check(home.run("demo", "--orders", str(orders), "--json"), orders)


def test_a_worker_ends_cleanly_when_it_is_told_to(home: Home):
    process = home.start("worker")
    time.sleep(1.5)
    process.terminate()
    process.communicate(timeout=15)
    assert process.returncode == 0
