"""Paying: a provider outside, and what it did on record inside.

The provider is asked outside of any transaction, under a key that stays the same when the question is repeated; what it
answered is then recorded together with its effect on the order.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from cloudlab.errors import KeyReused, PaymentFailed
from cloudlab.values import Money


class PaymentMethod(StrEnum):
    """Ways to pay."""

    CREDIT_CARD = "credit_card"
    DEBIT_CARD = "debit_card"
    PAYPAL = "paypal"
    APPLE_PAY = "apple_pay"
    GOOGLE_PAY = "google_pay"
    BANK_TRANSFER = "bank_transfer"
    CRYPTOCURRENCY = "cryptocurrency"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a provider has done: `reference` is how it calls it, `idempotency_key` how we asked for it."""

    provider: str
    reference: str
    idempotency_key: str
    payment_method: PaymentMethod
    amount: Money


class Gateway(Protocol):
    """A payment provider. The same key gives the same receipt, however often it is asked."""

    async def capture(self, *, idempotency_key: str, amount: Money, payment_method: PaymentMethod) -> Receipt:
        """Take the money; PaymentFailed when it is declined."""
        ...

    async def refund(self, receipt: Receipt, *, idempotency_key: str, amount: Money) -> Receipt:
        """Give money back on an earlier receipt."""
        ...


class Sandbox:
    """A provider that moves no money: it answers at once, and declines what is above its limit."""

    def __init__(self, *, declines_above: Money | None = None) -> None:
        self._declines_above = declines_above
        self._receipts: dict[str, Receipt] = {}

    async def capture(self, *, idempotency_key: str, amount: Money, payment_method: PaymentMethod) -> Receipt:
        """Take the money; PaymentFailed when it is above the limit in the limit's currency."""
        limit = self._declines_above
        if limit is not None and limit.currency == amount.currency and limit < amount:
            raise PaymentFailed(f"declined: {amount} is above {limit}", hint="Offer another way to pay.")
        return self._answer(idempotency_key, payment_method, amount)

    async def refund(self, receipt: Receipt, *, idempotency_key: str, amount: Money) -> Receipt:
        """Give money back; PaymentFailed when it is more than was taken."""
        if receipt.amount < amount:
            raise PaymentFailed(f"{amount} cannot be refunded on a payment of {receipt.amount}")
        return self._answer(idempotency_key, receipt.payment_method, amount)

    def _answer(self, key: str, method: PaymentMethod, amount: Money) -> Receipt:
        # Made from the key, so that a sandbox in another process, or after a crash, gives the same answer.
        reference = "sb_" + hashlib.sha256(key.encode()).hexdigest()[:24]
        receipt = self._receipts.setdefault(key, Receipt("sandbox", reference, key, method, amount))
        if receipt.amount != amount:
            raise KeyReused(f"{key} was used for {receipt.amount}, not {amount}")
        return receipt
