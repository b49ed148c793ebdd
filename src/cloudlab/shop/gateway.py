"""What a payment provider can do, said without any provider's name.

A provider is asked outside of any transaction, under a key that stays the same when the question is repeated. It gives
one of three answers: a receipt, a refusal (PaymentFailed), or none in time (PaymentUnknown): then the money may have
moved or not, and only the provider knows.

Standard: §3.3 Saga State Management
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

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


class Kind(StrEnum):
    """What a provider is asked for."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"


class Answer(StrEnum):
    """What is known of a request; `pending` and `unknown` may have moved money or not."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a provider has done: `reference` is how it calls it, `idempotency_key` how we asked for it.

    `parent` is the reference of the authorisation that was captured or voided, or of the payment that was refunded.
    A receipt of `find` may say `failed`; those of the other methods never do.
    """

    provider: str
    reference: str
    idempotency_key: str
    payment_method: PaymentMethod
    amount: Money
    kind: Kind = Kind.CAPTURE
    status: Answer = Answer.SUCCEEDED
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What a provider says of its own accord: `event_id` is the same each time it says so again."""

    provider: str
    event_id: str
    kind: Kind
    status: Answer
    reference: str
    idempotency_key: str | None
    amount: Money
    occurred_at: datetime


class Gateway(Protocol):
    """A payment provider. The same key gives the same answer, however often it is asked.

    Every method raises PaymentFailed when the provider refuses, PaymentUnknown when it has not answered in time, and
    KeyReused when the key was used for something else. None may be called while a transaction is open.
    """

    @property
    def provider(self) -> str:
        """Name of the provider, as payments record it."""
        ...

    async def authorize(
        self, *, idempotency_key: str, amount: Money, payment_method: PaymentMethod, token: str | None = None
    ) -> Receipt:
        """Have an amount kept for us; `token` is how the provider calls the customer's card or account."""
        ...

    async def capture(
        self,
        *,
        idempotency_key: str,
        amount: Money,
        payment_method: PaymentMethod,
        authorization: Receipt | None = None,
        token: str | None = None,
    ) -> Receipt:
        """Take the money, of an authorisation at most what it keeps; the rest of it is let go."""
        ...

    async def void(self, authorization: Receipt, *, idempotency_key: str) -> Receipt:
        """Let go of an authorisation that was not captured."""
        ...

    async def refund(self, receipt: Receipt, *, idempotency_key: str, amount: Money) -> Receipt:
        """Give money back on an earlier capture, at most what is left of it."""
        ...

    async def find(self, idempotency_key: str, *, kind: Kind, since: datetime, parent: str | None) -> Receipt | None:
        """Say what became of a request; None when it never arrived.

        Args:
            idempotency_key: That of the request.
            kind: What was asked for.
            since: When it was sent first.
            parent: The provider's reference of what it was about, None for a new payment.
        """
        ...


class WebhookReader(Protocol):
    """Turns what a provider posts into a message, after checking that it is the provider who speaks."""

    def read(self, payload: bytes, headers: Mapping[str, str]) -> Message | None:
        """Return the message, None when it is of no interest here; Forbidden when somebody else has signed it."""
        ...
