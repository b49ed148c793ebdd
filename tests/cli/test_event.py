"""`cloudlab event`, `user` and `key` as processes.

Standard: §1.2 Data Domain Mapping, §3.2 Event Store Schema, §9.1 Encryption at Rest
"""

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest

from cloudlab.config import Config
from cloudlab.crypto import new_key
from cloudlab.events import store as events
from cloudlab.events import subjects
from cloudlab.platform import Platform
from cloudlab.sagas import Call, Running, Saga, Step
from cloudlab.session import Session
from cloudlab.shop import users
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Cause, NewEvent, Stream, caused_by
from events.shapes import Subscribed
from fixtures.commands import cloudlab, start, write_config
from sagas.making import running

T = TypeVar("T")
KEY = new_key()
ENVIRONMENT = {"CLOUDLAB_MASTER_KEY": base64.b64encode(KEY).decode()}


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, master_keys={1: KEY})


@pytest.fixture
def home(config: Config, tmp_path: Path) -> Path:
    write_config(config, tmp_path)
    return tmp_path


def during(config: Config, work: Callable[[Platform, Tenant], Awaitable[T]]) -> T:
    """Run some work on the tenant acme, which is made if need be."""

    async def run() -> T:
        async with Platform.open(config) as platform:
            if not (found := [one for one in await platform.tenants() if one.tenant_name == "acme"]):
                found = [await platform.create_tenant("acme", region="eu-west-1")]
            return await work(platform, found[0])

    return asyncio.run(run())


async def append(platform: Platform, tenant: Tenant, stream: Stream, *types: str, cause: Cause | None = None) -> None:
    async with platform.session(tenant, cause=cause) as s:
        await events.append(s, stream, [NewEvent(name, {"a": name}) for name in types], expected_version=None)


def lines(done: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_stream_is_read_in_both_directions(home: Path, config: Config):
    order = Stream("Order", uuid4())
    during(config, lambda platform, acme: append(platform, acme, order, "A", "B", "C"))

    def read(*arguments: object) -> list[str]:
        done = cloudlab(home, "event", "read", "Order", order.aggregate_id, "--tenant", "acme", "--json", *arguments)
        return [event["event_type"] for event in lines(done)]

    assert read() == ["A", "B", "C"]
    assert read("--after-version", 1, "--limit", 1) == ["B"]
    assert read("--backward") == ["C", "B", "A"]
    assert read("--backward", "--after-version", 3) == ["B", "A"]
    shown = cloudlab(home, "event", "read", "Order", order.aggregate_id, "--tenant", "acme", COLUMNS="200")
    assert str(order.aggregate_id) in shown.stdout


def test_the_tail_shows_what_its_filters_let_pass(home: Path, config: Config):
    first, second = Stream("Order", uuid4()), Stream("Order", uuid4())

    async def happen(platform: Platform, acme: Tenant) -> None:
        await append(platform, acme, first, "A", "B")
        await append(platform, acme, second, "A", "C")
        rival = await platform.create_tenant("rival", region="eu-west-1")
        await append(platform, rival, first, "A")

    during(config, happen)

    def tail(*arguments: object) -> list[str]:
        return [event["event_type"] for event in lines(cloudlab(home, "event", "tail", "--json", *arguments))]

    here = ("--shard", "eu_west_001")
    assert tail(*here) == ["A", "B", "A", "C", "A"]
    assert tail(*here, "--limit", 2) == ["C", "A"]
    assert tail("--tenant", "acme") == ["A", "B", "A", "C"]
    assert tail("--tenant", "acme", "--type", "A", "--type", "C") == ["A", "A", "C"]
    assert tail(*here, "--type", "A", "--limit", 1) == ["A"]
    assert tail("--tenant", "rival", "--aggregate", first.aggregate_id) == ["A"]
    assert tail(*here, "--after", 0, "--type", "A", "--limit", 2) == ["A", "A"]
    assert tail(*here, "--after", 1, "--limit", 2) == ["B", "A"]


def test_a_followed_tail_goes_on_until_it_is_interrupted(home: Path, config: Config):
    order = Stream("Order", uuid4())
    during(config, lambda platform, acme: append(platform, acme, order, "Old"))
    with start(home, "event", "tail", "--tenant", "acme", "--follow", "--type", "New", "--json") as tail:
        time.sleep(1.5)
        during(config, lambda platform, acme: append(platform, acme, order, "Other", "New"))
        assert tail.stdout
        assert json.loads(tail.stdout.readline())["event_type"] == "New"
        tail.terminate()  # SIGINT is ignored below a shell's background job
        printed, _ = tail.communicate(timeout=20)
    assert printed == ""


def test_an_operator_appends_under_their_own_name_after_a_question(home: Path, config: Config):
    during(config, lambda platform, acme: append(platform, acme, Stream("Other", uuid4()), "A"))
    order = uuid4()
    what = ("event", "append", "Order", order, "OrderNoted", '{"note": "called"}', "--tenant", "acme")
    asked = cloudlab(home, *what)
    assert asked.returncode == 1
    assert "for ever" in asked.stderr
    (done,) = lines(cloudlab(home, *what, "--yes", "--expected-version", 0, "--json"))
    assert (done["event_version"], done["event_data"]) == (1, {"note": "called"})
    assert done["metadata"]["actor"].startswith("operator:")
    assert cloudlab(home, *what, "--yes", "--expected-version", 0).returncode == 1
    assert cloudlab(home, *what[:5], "no json", "--tenant", "acme", "--yes").returncode == 2
    assert cloudlab(home, *what[:5], "[1]", "--tenant", "acme", "--yes").returncode == 2
    assert cloudlab(home, *what[:5], '{"price": 9.9}', "--tenant", "acme", "--yes").returncode == 2


def test_a_trace_shows_what_one_command_caused_across_streams(home: Path, config: Config):
    order, stock, mail = Stream("Order", uuid4()), Stream("Product", uuid4()), Stream("Mail", uuid4())
    command = Cause(actor="ada")

    async def trade(platform: Platform, acme: Tenant) -> tuple[str, str]:
        await append(platform, acme, Stream("Order", uuid4()), "Unrelated")
        await append(platform, acme, order, "Placed", cause=command)
        async with platform.session(acme, readonly=True) as s:
            (placed,) = await events.read_stream(s, order)
        await append(platform, acme, stock, "Reserved", cause=caused_by(placed))
        async with platform.session(acme, readonly=True) as s:
            (reserved,) = await events.read_stream(s, stock)
        await append(platform, acme, mail, "Sent", cause=caused_by(reserved))
        await append(platform, acme, order, "Confirmed", cause=caused_by(placed))
        return str((placed.metadata or {})["correlation_id"]), str(reserved.event_id)

    correlation_id, event_id = during(config, trade)

    def tree(node: dict[str, Any]) -> dict[str, Any]:
        return {node["event_type"]: [tree(child) for child in node["caused"]]}

    for entry in (correlation_id, event_id, order.aggregate_id, mail.aggregate_id):
        done = cloudlab(home, "event", "trace", entry, "--tenant", "acme", "--json")
        (found,) = lines_of_one(done)["commands"]
        assert found["correlation_id"] == correlation_id
        assert [tree(node) for node in found["events"]] == [
            {"Placed": [{"Reserved": [{"Sent": []}]}, {"Confirmed": []}]}
        ]
    shown = cloudlab(home, "event", "trace", correlation_id, "--tenant", "acme", COLUMNS="200")
    assert "by ada" in shown.stdout
    assert "Reserved Product" in shown.stdout
    assert cloudlab(home, "event", "trace", uuid4(), "--tenant", "acme").returncode == 2


def test_a_trace_shows_the_steps_of_the_sagas_that_a_command_started(home: Path, config: Config):
    async def note(s: Session, saga: Running) -> None:
        await events.append(s, Stream("Trip", saga.saga_id), [NewEvent("SeatReserved", {})], expected_version=None)

    async def look(call: Call, saga: Running) -> None:
        await asyncio.sleep(0)

    saga = Saga("trip", Step("reserve", do=note), Step("look", do=look, external=True))

    async def travel(config: Config) -> tuple[str, str]:
        async with Platform.open(config, sagas=[saga]) as platform:
            acme = await platform.create_tenant("acme")
            other = await platform.sagas.start(acme, saga, {})
            saga_id = await platform.sagas.start(acme, saga, {}, cause=Cause(actor="ada"))
            async with running(platform, acme):
                for each in (other, saga_id):
                    state = await platform.sagas.ended(acme, each)
            await platform.sagas.archive(acme.shard, older_than=timedelta(0))
            return str(saga_id), str(state.correlation_id)

    saga_id, correlation_id = asyncio.run(travel(config))
    for entry in (saga_id, correlation_id):
        done = cloudlab(home, "event", "trace", entry, "--tenant", "acme", "--json")
        (found,) = lines_of_one(done)["commands"]
        assert found["correlation_id"] == correlation_id
        taken = [(step["saga_id"], step["step_type"], step["status"]) for step in found["saga_steps"]]
        assert taken == [(saga_id, "reserve", "completed"), (saga_id, "look", "completed")]
    shown = cloudlab(home, "event", "trace", saga_id, "--tenant", "acme", COLUMNS="200")
    assert f"saga trip v1 {saga_id}: completed" in shown.stdout
    assert "reserve completed, attempt 1" in shown.stdout


def lines_of_one(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_person_is_erased_and_erased_again_after_a_restore(home: Path, config: Config):
    async def register(platform: Platform, acme: Tenant) -> UUID:
        async with platform.session(acme) as s:
            ada = await users.register(s, email="ada@acme.test", first_name="Ada", last_name="L")
            subscribed = Subscribed(user_id=ada.user_id, plan="gold", email=ada.email, nicknames=None, spent=None)
            await events.append(s, Stream("Subscription", uuid4()), [subscribed], expected_version=0)
            return ada.user_id

    user_id = during(config, register)
    erase = ("user", "erase", "ada@acme.test", "--tenant", "acme")
    looked = lines_of_one(cloudlab(home, *erase, "--dry-run", "--json"))
    assert (looked["user_id"], looked["accounts"], looked["keys"]) == (str(user_id), 1, 1)
    assert cloudlab(home, *erase).returncode == 1
    assert cloudlab(home, *erase, "--yes", **ENVIRONMENT).returncode == 0
    assert cloudlab(home, *erase, "--yes").returncode == 2
    again = lines_of_one(cloudlab(home, "user", "erase", user_id, "--tenant", "acme", "--yes", "--json"))
    assert again["erased_at"]
    assert again["accounts"] == 0
    replayed = lines_of_one(cloudlab(home, "user", "replay-erasures", "--json"))
    assert replayed == {"entries": 1, "erased_again": 0}


def test_the_master_key_is_rotated(home: Path, config: Config):
    user_id, new = uuid4(), new_key()
    subscribed = Subscribed(user_id=user_id, plan="gold", email="ada@acme.test", nicknames=None, spent=None)

    async def subscribe(platform: Platform, acme: Tenant) -> None:
        async with platform.session(acme) as s:
            await events.append(s, Stream("Subscription", user_id), [subscribed], expected_version=0)

    async def read(platform: Platform, acme: Tenant) -> object:
        async with platform.session(acme, readonly=True) as s:
            found = await events.read_stream(s, Stream("Subscription", user_id))
            return (await subjects.reveal(s, found))[0].event_data["email"]

    during(config, subscribe)
    both = f"1:{ENVIRONMENT['CLOUDLAB_MASTER_KEY']},2:{base64.b64encode(new).decode()}"
    done = lines_of_one(cloudlab(home, "key", "rotate", "--json", CLOUDLAB_MASTER_KEY=both))
    assert done == {"master_key_version": 2, "wrapped": {"us_east_001": 0, "eu_west_001": 1}}
    assert during(replace(config, master_keys={2: new}), read) == "ada@acme.test"
    assert cloudlab(home, "key", "rotate").returncode == 2
    assert cloudlab(home, "key", "rotate", "--new").returncode == 2
