"""A payment provider that moves no money, and fails on demand in the ways in which real ones do.

    Sandbox()                                             accepts everything, forgets it with the process
    Sandbox(ledger=FileLedger(path))                      remembers it in a file, for every process that opens it
    Sandbox(scenario=Scenario(seed=7, decline=0.02, timeout=0.01, lost_answer=0.01, duplicate_webhook=0.005))

What happens to a request is drawn from the seed and its key: the same in every process and after every crash.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from cloudlab.errors import CloudLabError, KeyReused, PaymentFailed, PaymentUnknown
from cloudlab.shop.gateway import Answer, Kind, Message, PaymentMethod, Receipt
from cloudlab.shop.sandbox_ledger import Book, Entry, FileLedger, Ledger, MemoryLedger
from cloudlab.values import Money

__all__ = ["Course", "Entry", "FileLedger", "MemoryLedger", "Sandbox", "Scenario", "Sums"]


class Course(StrEnum):
    """What happens to a request: `timeout` before anything is done, `lost_answer` after it was done."""

    ACCEPT = "accept"
    DECLINE = "decline"
    TIMEOUT = "timeout"
    LOST_ANSWER = "lost_answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How the sandbox behaves.

    Attributes:
        seed: Another one gives other requests the bad luck.
        decline: Share of new payments that are declined.
        timeout: Share of requests whose first attempt does not arrive.
        lost_answer: Share of requests whose first attempt is carried out, but whose answer is lost.
        duplicate_webhook: Share of messages that come twice.
        late_webhook: Share of messages that come after later ones.
        by_key: What happens to these keys, whatever the shares say.
        by_amount: What happens to these amounts, whatever the shares say.
        latency_seconds: How long every answer takes.
    """

    seed: int = 0
    decline: float = 0.0
    timeout: float = 0.0
    lost_answer: float = 0.0
    duplicate_webhook: float = 0.0
    late_webhook: float = 0.0
    by_key: Mapping[str, Course] = field(default_factory=dict[str, Course])
    by_amount: Mapping[Money, Course] = field(default_factory=dict[Money, Course])
    latency_seconds: float = 0.0

    def course(self, wanted: Entry) -> Course:
        """Return what happens to a request."""
        if (course := self.by_key.get(wanted.key) or self.by_amount.get(wanted.amount)) is not None:
            return course
        if wanted.parent is None and self.draw(wanted.key, "decline") < self.decline:
            return Course.DECLINE
        drawn = self.draw(wanted.key, "timeout") if self.timeout or self.lost_answer else 1.0
        if drawn < self.timeout:
            return Course.TIMEOUT
        return Course.LOST_ANSWER if drawn < self.timeout + self.lost_answer else Course.ACCEPT

    def rounds(self, key: str) -> list[int]:
        """Return in which rounds the messages of a request are sent."""
        rounds = [1] if self.late_webhook and self.draw(key, "late") < self.late_webhook else [0]
        return rounds * 2 if self.duplicate_webhook and self.draw(key, "twice") < self.duplicate_webhook else rounds

    def draw(self, key: str, what: str) -> float:
        """Return a number from 0 to 1 that belongs to this key."""
        digest = hashlib.sha256(f"{self.seed}:{what}:{key}".encode()).digest()
        return int.from_bytes(digest[:8]) / 2**64


@dataclass(slots=True)
class Sums:
    """What the sandbox has taken and given back in one currency."""

    captured: Decimal = Decimal(0)
    refunded: Decimal = Decimal(0)


class Sandbox:
    """A provider that moves no money. It declines what is above its limit, and fails as its scenario says."""

    provider = "sandbox"

    def __init__(
        self,
        *,
        declines_above: Money | None = None,
        scenario: Scenario | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._declines_above = declines_above
        self._scenario = scenario or Scenario()
        self._ledger = ledger or MemoryLedger()

    async def authorize(
        self, *, idempotency_key: str, amount: Money, payment_method: PaymentMethod, token: str | None = None
    ) -> Receipt:
        """Keep an amount; PaymentFailed when it is above the limit in the limit's currency."""
        return await self._ask(_wanted(idempotency_key, Kind.AUTHORIZE, payment_method, amount), None)

    async def capture(
        self,
        *,
        idempotency_key: str,
        amount: Money,
        payment_method: PaymentMethod,
        authorization: Receipt | None = None,
        token: str | None = None,
    ) -> Receipt:
        """Take the money; PaymentFailed when it is above the limit, or above what was authorised."""
        return await self._ask(_wanted(idempotency_key, Kind.CAPTURE, payment_method, amount), authorization)

    async def void(self, authorization: Receipt, *, idempotency_key: str) -> Receipt:
        """Let go of an authorisation; PaymentFailed when it was captured."""
        method, amount = authorization.payment_method, authorization.amount
        return await self._ask(_wanted(idempotency_key, Kind.VOID, method, amount), authorization)

    async def refund(self, receipt: Receipt, *, idempotency_key: str, amount: Money) -> Receipt:
        """Give money back; PaymentFailed when it is more than is left of what was taken."""
        return await self._ask(_wanted(idempotency_key, Kind.REFUND, receipt.payment_method, amount), receipt)

    async def find(self, idempotency_key: str, *, kind: Kind, since: datetime, parent: str | None) -> Receipt | None:
        """Say what became of a request; None when it never arrived."""
        entry = await self._ledger.work(lambda book: book.entry(idempotency_key))
        return _receipt(entry) if entry else None

    async def take_messages(self) -> list[Message]:
        """Return the messages that are due, some twice, some only the next time."""
        return [_message(entry) for entry in await self._ledger.work(lambda book: book.due())]

    async def entries(self) -> list[Entry]:
        """Return all that was done and refused."""
        return await self._ledger.work(lambda book: book.entries())

    async def sums(self) -> dict[str, Sums]:
        """Add up what was taken and given back, by currency."""
        sums: defaultdict[str, Sums] = defaultdict(Sums)
        for entry in await self.entries():
            if entry.status is Answer.SUCCEEDED and entry.kind is Kind.CAPTURE:
                sums[entry.amount.currency].captured += entry.amount.amount
            elif entry.status is Answer.SUCCEEDED and entry.kind is Kind.REFUND:
                sums[entry.amount.currency].refunded += entry.amount.amount
        return dict(sums)

    async def _ask(self, wanted: Entry, about: Receipt | None) -> Receipt:
        if self._scenario.latency_seconds:
            await asyncio.sleep(self._scenario.latency_seconds)
        if about is not None:
            wanted = replace(wanted, parent=about.reference)
        answer = await self._ledger.work(lambda book: self._answer(book, wanted, about))
        if isinstance(answer, CloudLabError):
            raise answer
        if answer.status is Answer.FAILED:
            raise PaymentFailed(answer.failure, hint="Offer another way to pay.")
        return _receipt(answer)

    def _answer(self, book: Book, wanted: Entry, about: Receipt | None) -> Entry | CloudLabError:
        is_first = book.asked(wanted.key) == 1
        if (known := book.entry(wanted.key)) is not None:
            return known if _is_same(known, wanted) else KeyReused(f"{wanted.key} was used for {known.amount}")
        course = self._scenario.course(wanted)
        if course is Course.TIMEOUT and is_first:
            return PaymentUnknown(f"the sandbox has not answered {wanted.key}")
        failure = "declined" if course is Course.DECLINE else self._refusal(book, wanted, about)
        entry = replace(
            wanted, status=Answer.FAILED if failure else Answer.SUCCEEDED, failure=failure, at=datetime.now(UTC)
        )
        book.add(entry, self._scenario.rounds(entry.key))
        if course is Course.LOST_ANSWER and is_first:
            return PaymentUnknown(f"the sandbox has not answered {wanted.key}")
        return entry

    def _refusal(self, book: Book, wanted: Entry, about: Receipt | None) -> str:
        """Say why a request cannot be granted; empty when it can."""
        limit = self._declines_above
        if about is None:
            too_much = limit is not None and limit.currency == wanted.amount.currency and limit < wanted.amount
            return f"declined: {wanted.amount} is above {limit}" if too_much else ""
        parent = book.referenced(about.reference)
        left = parent.amount if parent else about.amount
        done = [entry for entry in book.children(about.reference) if entry.status is Answer.SUCCEEDED]
        if wanted.kind is Kind.REFUND:
            for entry in done:
                left -= entry.amount
            return f"{wanted.amount} cannot be refunded on a payment of {left}" if left < wanted.amount else ""
        if done:
            return f"authorisation {about.reference} has ended by a {done[0].kind}"
        return f"{wanted.amount} is more than the {left} authorised" if left < wanted.amount else ""


def _wanted(key: str, kind: Kind, method: PaymentMethod, amount: Money) -> Entry:
    # The reference is made from the key, so that a sandbox without a memory of it gives the same answer.
    reference = "sb_" + hashlib.sha256(key.encode()).hexdigest()[:24]
    return Entry(key, reference, kind, Answer.PENDING, method, amount)


def _is_same(known: Entry, wanted: Entry) -> bool:
    return (known.kind, known.amount, known.parent) == (wanted.kind, wanted.amount, wanted.parent)


def _receipt(entry: Entry) -> Receipt:
    return Receipt(
        Sandbox.provider, entry.reference, entry.key, entry.method, entry.amount, entry.kind, entry.status, entry.parent
    )


def _message(entry: Entry) -> Message:
    return Message(
        Sandbox.provider, f"evt_{entry.reference}", entry.kind, entry.status, entry.reference, entry.key, entry.amount,
        entry.at,
    )  # fmt: skip
