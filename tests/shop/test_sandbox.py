"""The sandbox: the same answers in every process, and bad luck on demand."""

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cloudlab.errors import KeyReused, PaymentFailed, PaymentUnknown
from cloudlab.shop.gateway import Answer
from cloudlab.shop.sandbox import Course, FileLedger, MemoryLedger, Sandbox, Scenario
from cloudlab.values import Money
from shop.paying import CARD, eur


@pytest.fixture(params=["memory", "file"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> FileLedger | MemoryLedger:
    return FileLedger(tmp_path / "ledger.sqlite") if request.param == "file" else MemoryLedger()


async def charge(gateway: Sandbox, key: str, amount: Money | None = None):
    return await gateway.capture(idempotency_key=key, amount=amount or eur("10"), payment_method=CARD)


async def test_the_same_key_gives_the_same_answer_and_another_request_under_it_is_refused(ledger):
    gateway = Sandbox(ledger=ledger)
    assert await charge(gateway, "k") == await charge(gateway, "k")
    with pytest.raises(KeyReused):
        await charge(gateway, "k", eur("11"))
    assert (await gateway.sums())["EUR"].captured == 10


async def test_no_more_is_given_back_than_was_taken_nor_taken_than_was_authorised(ledger):
    gateway = Sandbox(ledger=ledger)
    kept = await gateway.authorize(idempotency_key="a", amount=eur("10"), payment_method=CARD)
    with pytest.raises(PaymentFailed, match="more than the"):
        await gateway.capture(idempotency_key="c", amount=eur("11"), payment_method=CARD, authorization=kept)
    taken = await gateway.capture(idempotency_key="c2", amount=eur("6"), payment_method=CARD, authorization=kept)
    with pytest.raises(PaymentFailed, match="ended by a capture"):
        await gateway.void(kept, idempotency_key="v")
    await gateway.refund(taken, idempotency_key="r1", amount=eur("4"))
    with pytest.raises(PaymentFailed, match=r"3\.00 EUR cannot be refunded on a payment of 2\.00 EUR"):
        await gateway.refund(taken, idempotency_key="r2", amount=eur("3"))
    assert (await gateway.sums())["EUR"].refunded == 4


async def test_bad_luck_comes_by_key_and_by_amount(ledger):
    scenario = Scenario(
        by_key={"deaf": Course.TIMEOUT, "lost": Course.LOST_ANSWER}, by_amount={eur("13"): Course.DECLINE}
    )
    gateway = Sandbox(ledger=ledger, scenario=scenario)
    with pytest.raises(PaymentFailed):
        await charge(gateway, "k", eur("13"))
    for key, is_done in (("deaf", False), ("lost", True)):
        with pytest.raises(PaymentUnknown):
            await charge(gateway, key)
        assert any(entry.key == key for entry in await gateway.entries()) == is_done
        assert (await charge(gateway, key)).idempotency_key == key
    assert [entry.status for entry in await gateway.entries()] == [Answer.FAILED, Answer.SUCCEEDED, Answer.SUCCEEDED]


async def test_shares_of_bad_luck_are_drawn_from_the_seed():
    async def course(seed: int) -> list[str]:
        gateway = Sandbox(scenario=Scenario(seed=seed, decline=0.2, timeout=0.1, lost_answer=0.1))
        found = await asyncio.gather(*(charge(gateway, f"k{n}") for n in range(1000)), return_exceptions=True)
        return [type(each).__name__ for each in found]

    first = await course(1)
    assert first == await course(1)
    assert first != await course(2)
    assert 140 < first.count("PaymentFailed") < 260
    assert 100 < first.count("PaymentUnknown") < 220


async def test_a_ledger_in_a_file_is_the_same_for_every_process(tmp_path: Path):
    path = tmp_path / "ledger.sqlite"
    program = textwrap.dedent(
        f"""
        import asyncio, os
        from pathlib import Path
        from cloudlab.shop.payments import PaymentMethod
        from cloudlab.shop.sandbox import FileLedger, Sandbox
        from cloudlab.values import Money
        async def main():
            gateway = Sandbox(ledger=FileLedger(Path({str(path)!r})))
            for n in range(20):
                await gateway.capture(idempotency_key=f"k{{n}}", amount=Money("1", "EUR"),
                                      payment_method=PaymentMethod.PAYPAL)
            os.kill(os.getpid(), 9)
        asyncio.run(main())
        """
    )
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [-9, -9, -9]
    gateway = Sandbox(ledger=FileLedger(path))
    assert (await gateway.sums())["EUR"].captured == 20
    assert len(await gateway.take_messages()) == 20
