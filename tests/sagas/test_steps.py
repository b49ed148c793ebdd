"""What a saga does: steps in order, undone in reverse, side by side, tried again, waiting; behind the pivot forward.

Standard: §3.3 Saga State Management
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from cloudlab import sagas
from cloudlab.config import Config
from cloudlab.errors import ConfigError, InvalidInput, KeyReused, OutOfStock, TimedOut, Unavailable
from cloudlab.events import store as events
from cloudlab.platform import Platform
from cloudlab.sagas import Backoff, Call, Each, Parallel, Running, Saga, SagaState, Sleep, Step, Wait
from cloudlab.session import Session
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Cause, NewEvent, Stream, uuid7
from sagas.making import QUICK, Outside, begin, failing, journal, make_table, mark, marking, marks, running


@asynccontextmanager
async def world(config: Config, *definitions: Saga, placement: str = "row") -> AsyncGenerator[tuple[Platform, Tenant]]:
    """A platform with these sagas, a tenant and its table, and the sagas running."""
    async with Platform.open(config, sagas=definitions) as platform:
        acme = await platform.create_tenant("acme", placement=placement)
        await make_table(config, acme.schema_name) if placement == "row" else await _only(config, acme)
        async with running(platform, acme):
            yield platform, acme


async def _only(config: Config, tenant: Tenant) -> None:
    shards = tuple(shard for shard in config.shards if shard.name == tenant.shard)
    await make_table(Config(config.control, shards, config.cache_url, config.analytics_url), tenant.schema_name)


async def run(config: Config, saga: Saga, data: dict[str, object] | None = None) -> tuple[SagaState, Sequence[str]]:
    """Run one saga to its end; return how it ended and the marks it left."""
    async with world(config, saga) as (platform, acme):
        state = await platform.sagas.ended(acme, await begin(platform, acme, saga, data), within_seconds=10)
        return state, await marks(platform, acme, state.saga_id)


@pytest.mark.parametrize("placement", ["row", "schema"])
async def test_steps_run_in_order_and_hand_on_what_they_return(config: Config, placement: str):
    seen: list[Running] = []

    async def look(s: Session, saga: Running) -> None:
        seen.append(saga)

    saga = Saga("trip", marking("a"), marking("b"), Step("look", do=look))
    async with world(config, saga, placement=placement) as (platform, acme):
        user_id = uuid4()
        saga_id = await begin(platform, acme, saga, {"user_id": user_id, "nights": 3})
        state = await platform.sagas.ended(acme, saga_id)
        assert (state.status, state.next_at, state.lease_owner) == ("completed", None, None)
        assert await marks(platform, acme, saga_id) == ["a", "b"]
        assert await journal(platform, acme, saga_id) == [
            ("a", "do", 1, "completed"), ("b", "do", 1, "completed"), ("look", "do", 1, "completed"),
        ]  # fmt: skip
    assert seen[0].data == {"user_id": str(user_id), "nights": 3}
    assert seen[0].results == {"a": {"mark": "a"}, "b": {"mark": "b"}}
    assert (seen[0].saga_id, seen[0].tenant_id) == (saga_id, acme.tenant_id)


async def test_a_refusal_undoes_what_was_done_in_reverse(config: Config):
    saga = Saga("trip", marking("a"), marking("b"), Step("c", do=failing(OutOfStock()), undo=mark("unc")), marking("d"))
    state, left = await run(config, saga)
    assert state.status == "compensated"
    assert left == ["a", "b", "unb", "una"]
    assert state.compensation_data == {"step": "c", "error": "OutOfStock: There is not enough stock."}


async def test_what_may_pass_is_tried_again_until_the_attempts_are_used_up(config: Config):
    flaky = Step("flaky", do=failing(Unavailable(), times=2), backoff=QUICK)
    async with world(config, saga := Saga("trip", marking("a"), flaky)) as (platform, acme):
        saga_id = await begin(platform, acme, saga)
        assert (await platform.sagas.ended(acme, saga_id)).status == "completed"
        assert [row[2:] for row in await journal(platform, acme, saga_id)][1:] == [
            (1, "failed"), (2, "failed"), (3, "completed"),
        ]  # fmt: skip


async def test_used_up_attempts_compensate(config: Config):
    hopeless = Step("hopeless", do=failing(TimeoutError("slow")), attempts=3, backoff=QUICK)
    state, left = await run(config, Saga("trip", marking("a"), hopeless))
    assert (state.status, left) == ("compensated", ["a", "una"])


async def test_an_unknown_external_step_is_asked_again_under_the_same_key_and_then_undone_too(
    config: Config, tmp_path: Path
):
    outside, keys = Outside(tmp_path / "ledger"), list[str]()

    async def do(call: Call, saga: Running) -> None:
        keys.append(call.idempotency_key)
        outside.book(call.idempotency_key, "charged")
        raise TimedOut("no answer")

    async def undo(call: Call, saga: Running) -> None:
        outside.book(call.idempotency_key, "refunded")

    charge = Step("charge", do=do, undo=undo, external=True, attempts=3, backoff=QUICK, pivot=True)
    async with world(config, saga := Saga("trip", marking("a"), charge, marking("b"))) as (platform, acme):
        saga_id = await begin(platform, acme, saga)
        assert (await platform.sagas.ended(acme, saga_id)).status == "compensated"
        rows = await journal(platform, acme, saga_id)
        assert [row[3] for row in rows if row[:2] == ("charge", "do")] == ["unknown"] * 3
        assert await marks(platform, acme, saga_id) == ["a", "una"]
    assert keys == [f"{saga_id}:charge"] * 3
    assert outside.done() == ["charged", "refunded"]


async def test_behind_the_pivot_there_is_only_forward(config: Config, tmp_path: Path):
    outside = Outside(tmp_path / "ledger")
    flaky = Step("flaky", do=failing(Unavailable(), times=8), attempts=2, backoff=QUICK)
    state, left = await run(config, Saga("trip", marking("a"), outside.step("pay", pivot=True), flaky, marking("b")))
    assert (state.status, left) == ("completed", ["a", "b"])


async def test_behind_the_pivot_what_waiting_does_not_mend_is_left_to_a_human(config: Config):
    broken = Step("broken", do=failing(OutOfStock()), attempts=2, backoff=QUICK)
    state, left = await run(config, Saga("trip", marking("a", pivot=True), broken, marking("b")))
    assert (state.status, state.next_at, left) == ("failed", None, ["a"])


async def test_a_compensation_that_goes_on_failing_is_left_to_a_human(config: Config):
    stuck = Step("stuck", do=mark("stuck"), undo=failing(ValueError("bug")), undo_attempts=3, backoff=QUICK)
    saga = Saga("trip", marking("a"), stuck, Step("no", do=failing(OutOfStock())))
    async with world(config, saga) as (platform, acme):
        saga_id = await begin(platform, acme, saga)
        assert (await platform.sagas.ended(acme, saga_id)).status == "failed"
        assert await marks(platform, acme, saga_id) == ["a", "stuck"]
        assert [row[2:] for row in await journal(platform, acme, saga_id) if row[1] == "undo"] == [
            (1, "failed"), (2, "failed"), (3, "failed"),
        ]  # fmt: skip


async def test_parallel_steps_wait_for_one_another_and_are_all_undone(config: Config, tmp_path: Path):
    outside, together = Outside(tmp_path / "ledger"), asyncio.Barrier(2)

    async def meet(call: Call, saga: Running) -> None:
        await asyncio.wait_for(together.wait(), 5)

    pair = Parallel("pair", [Step("left", do=meet, external=True), Step("right", do=meet, external=True)])
    both = Parallel("both", [marking("x"), outside.step("y"), marking("z")])
    state, left = await run(config, Saga("trip", pair, both, Step("no", do=failing(OutOfStock()))))
    assert state.status == "compensated"
    assert sorted(left[:2]) == ["x", "z"]
    assert left[2:] == ["unz", "unx"]
    assert outside.done() == ["y", "uny"]


async def test_a_step_for_each_element(config: Config):
    async def ship(s: Session, saga: Running) -> dict[str, str]:
        await mark(f"ship {saga.item['vendor']}")(s, saga)
        return {"vendor": saga.item["vendor"]}

    seen: list[Running] = []

    async def look(s: Session, saga: Running) -> None:
        seen.append(saga)

    each = Each("ship", over="vendors", do=ship)

    async def find(s: Session, saga: Running) -> dict[str, object]:
        return {"vendors": [{"vendor": "v0"}, {"vendor": "v1"}, {"vendor": "v2"}]}

    state, left = await run(config, Saga("trip", Step("find", do=find), each, Step("look", do=look)))
    assert (state.status, sorted(left)) == ("completed", ["ship v0", "ship v1", "ship v2"])
    assert seen[0].results["ship[1]"] == {"vendor": "v1"}


async def test_an_empty_list_needs_no_step(config: Config):
    state, left = await run(config, Saga("trip", Each("ship", over="vendors", do=mark("x"))), {"vendors": []})
    assert (state.status, left) == ("completed", [])


async def test_a_missing_list_compensates(config: Config):
    state, left = await run(config, Saga("trip", marking("a"), Each("ship", over="vendors", do=mark("x"))))
    assert (state.status, left) == ("compensated", ["a", "una"])


async def test_a_slow_step_times_out(config: Config):
    async def dawdle(s: Session, saga: Running) -> None:
        await asyncio.sleep(5)

    slow = Step("slow", do=dawdle, timeout=timedelta(seconds=0.05), attempts=2, backoff=QUICK)
    state, left = await run(config, Saga("trip", marking("a"), slow))
    assert (state.status, left) == ("compensated", ["a", "una"])


async def test_a_deadline_compensates_before_the_pivot_and_not_behind_it(config: Config):
    slow = Step("slow", do=failing(Unavailable()), attempts=1000, backoff=Backoff(first=60))
    before = Saga("before", marking("a"), slow, marking("p", pivot=True), deadline=timedelta(seconds=0.5))
    late = Sleep(timedelta(seconds=0.6))
    behind = Saga("behind", marking("p", pivot=True), late, marking("b"), deadline=timedelta(seconds=0.5))
    async with world(config, before, behind) as (platform, acme):
        ids = [await begin(platform, acme, saga) for saga in (before, behind)]
        ended = [(await platform.sagas.ended(acme, saga_id)).status for saga_id in ids]
        assert ended == ["compensated", "completed"]


@pytest.mark.parametrize("early", [True, False])
async def test_it_waits_for_an_event_that_may_be_there_already(config: Config, early: bool):
    saga = Saga("trip", marking("a"), Wait("shipped", event="OrderShipped"), marking("b"))
    async with world(config, saga) as (platform, acme):
        order = Stream("Order", uuid7())

        async def ship(s: Session) -> None:
            await events.append(s, order, [NewEvent("OrderShipped", {"by": "cart"})], expected_version=None)

        async with platform.session(acme) as s:
            saga_id = await sagas.start(s, saga, {"order_id": order.aggregate_id})
            if early:
                await ship(s)
        if not early:
            await asyncio.sleep(0.5)
            async with platform.session(acme) as s:
                assert (await sagas.find(s, saga_id)).waiting_for == "OrderShipped"
            async with platform.session(acme) as s:
                await ship(s)
        state = await platform.sagas.ended(acme, saga_id, within_seconds=5)
        assert state.status == "completed"
        assert await marks(platform, acme, saga_id) == ["a", "b"]


async def test_a_wait_has_its_time(config: Config):
    wait = Wait("shipped", event="OrderShipped", of="order_id", timeout=timedelta(seconds=0.3))
    state, left = await run(config, Saga("trip", marking("a"), wait), {"order_id": uuid7(), "user_id": uuid7()})
    assert (state.status, left) == ("compensated", ["a", "una"])


async def test_a_wait_that_cannot_know_on_what_is_refused_at_the_start(config: Config):
    saga = Saga("trip", Wait("shipped", event="OrderShipped"))
    async with world(config, saga) as (platform, acme):
        with pytest.raises(InvalidInput, match="holds 2 ids"):
            await begin(platform, acme, saga, {"a": uuid7(), "b": uuid7()})


async def test_a_key_starts_one_saga(config: Config):
    async with world(config, saga := Saga("trip", marking("a"))) as (platform, acme):

        async def start(data: dict[str, object]) -> object:
            async with platform.session(acme) as s:
                return await sagas.start(s, saga, data, key="order-1")

        started = set(await asyncio.gather(*(start({"n": 1}) for _ in range(20))))
        assert len(started) == 1
        with pytest.raises(KeyReused):
            await start({"n": 2})


async def test_nothing_starts_when_the_transaction_is_rolled_back(config: Config):
    async with world(config, saga := Saga("trip", marking("a"))) as (platform, acme):
        with pytest.raises(OutOfStock):
            async with platform.session(acme) as s:
                saga_id = await sagas.start(s, saga, {})
                raise OutOfStock
        await asyncio.sleep(0.4)
        assert await marks(platform, acme, saga_id) == []


async def test_events_of_its_steps_carry_the_correlation_of_the_starter(config: Config):
    stream, correlation_id = Stream("Trip", uuid7()), uuid7()

    async def tell(s: Session, saga: Running) -> None:
        await events.append(s, stream, [NewEvent("Told", {})], expected_version=None)

    async def tell_outside(call: Call, saga: Running) -> None:
        async with call.session() as s:
            await tell(s, saga)

    saga = Saga("trip", Step("tell", do=tell), Step("outside", do=tell_outside, external=True))
    async with world(config, saga) as (platform, acme):
        async with platform.session(acme, cause=Cause(correlation_id=correlation_id, actor="ada")) as s:
            saga_id = await sagas.start(s, saga, {})
        other = await begin(platform, acme, Saga("trip", Step("tell", do=tell)))
        for each in (saga_id, other):
            assert (await platform.sagas.ended(acme, each)).status == "completed"
        async with platform.session(acme) as s:
            told = await events.read_stream(s, stream)
        ours = [event for event in told if (event.metadata or {})["correlation_id"] == str(correlation_id)]
        assert len(ours) == 2
        assert {(event.metadata or {})["actor"] for event in ours} == {"ada"}


async def test_a_bug_of_one_saga_harms_no_other(config: Config):
    async def buggy(s: Session, saga: Running) -> None:
        if saga.data["n"] == 7:
            await s.execute("SELECT /* test */ 1/0")
        await mark("fine")(s, saga)

    async with world(config, saga := Saga("trip", Step("buggy", do=buggy))) as (platform, acme):
        ids = [await begin(platform, acme, saga, {"n": n}) for n in range(20)]
        ended = [(await platform.sagas.ended(acme, each)).status for each in ids]
        assert ended == ["compensated" if n == 7 else "completed" for n in range(20)]
        assert [await marks(platform, acme, each) for each in ids] == [[] if n == 7 else ["fine"] for n in range(20)]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([], "no steps"),
        ([marking("a"), marking("a")], "two steps named a"),
        ([marking("a", pivot=True), marking("b", pivot=True)], "2 pivots"),
        ([marking("a[0]")], "cannot name"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(steps: list[Step], message: str):
    with pytest.raises(ConfigError, match=message):
        Saga("trip", *steps)
