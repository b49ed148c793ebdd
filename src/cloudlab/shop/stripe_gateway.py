"""Stripe as a payment provider, by Stripe's own library: `pip install cloudlab[stripe]`.

A payment is a PaymentIntent that is confirmed when it is made; its id is the reference of authorisation and capture
alike. Our key is Stripe's idempotency key, and stands in the metadata, where `find` and webhooks meet it again: Stripe
cannot be asked about a key itself. A payment that wants the customer to do something first is refused.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import stripe

from cloudlab.errors import (
    CloudLabError,
    ConfigError,
    Forbidden,
    InvalidInput,
    KeyReused,
    PaymentFailed,
    PaymentUnknown,
)
from cloudlab.shop.gateway import Answer, Kind, Message, PaymentMethod, Receipt
from cloudlab.values import Money, minor_digits

if TYPE_CHECKING:
    from stripe.params import PaymentIntentCaptureParams, PaymentIntentCreateParams, RefundCreateParams

T = TypeVar("T")

PROVIDER = "stripe"
_KEY, _METHOD = "cloudlab_key", "cloudlab_method"
# Where Stripe counts otherwise than ISO 4217: https://docs.stripe.com/currencies
_DIGITS = {"ISK": 2, "UGX": 2, "MGA": 0}
_WINDOW_BEFORE, _WINDOW_AFTER = timedelta(minutes=5), timedelta(days=1)


def minor_units(amount: Money) -> int:
    """Return an amount as Stripe counts it; InvalidInput when it has more decimals than Stripe can charge."""
    units = amount.amount.scaleb(_DIGITS.get(amount.currency, minor_digits(amount.currency)))
    # The last of three decimals must be 0, and so must both of a currency that has none any more.
    step = {3: 10}.get(minor_digits(amount.currency), 100 if amount.currency in ("ISK", "UGX") else 1)
    if units != int(units) or int(units) % step:
        raise InvalidInput(f"{amount} cannot be charged by Stripe: it has too many decimals")
    return int(units)


def from_minor_units(units: int, currency: str) -> Money:
    """Return what Stripe calls so many units of a currency, in either case."""
    code = currency.upper()
    return Money(Decimal(units).scaleb(-_DIGITS.get(code, minor_digits(code))), code)


class StripeGateway:
    """Payments by Stripe. Made by `stripe_gateway`, which closes its connections."""

    provider = PROVIDER

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client

    async def authorize(
        self, *, idempotency_key: str, amount: Money, payment_method: PaymentMethod, token: str | None = None
    ) -> Receipt:
        """Have an amount kept; `token` is Stripe's id of the customer's payment method."""
        return await self._pay(Kind.AUTHORIZE, idempotency_key, amount, payment_method, token)

    async def capture(
        self,
        *,
        idempotency_key: str,
        amount: Money,
        payment_method: PaymentMethod,
        authorization: Receipt | None = None,
        token: str | None = None,
    ) -> Receipt:
        """Take the money, at once or of an authorisation, whose rest is let go."""
        if authorization is None:
            return await self._pay(Kind.CAPTURE, idempotency_key, amount, payment_method, token)
        wanted: PaymentIntentCaptureParams = {"amount_to_capture": minor_units(amount)}
        intent = await _answer(
            self._client.v1.payment_intents.capture_async(
                authorization.reference, wanted, {"idempotency_key": idempotency_key}
            )
        )
        if intent.status != "succeeded":
            raise PaymentUnknown(f"Stripe says of {intent.id}: {intent.status}")
        parent = authorization.reference
        return Receipt(PROVIDER, intent.id, idempotency_key, payment_method, amount, Kind.CAPTURE, parent=parent)

    async def void(self, authorization: Receipt, *, idempotency_key: str) -> Receipt:
        """Let go of an authorisation."""
        parent, amount = authorization.reference, authorization.amount
        await _answer(
            self._client.v1.payment_intents.cancel_async(parent, options={"idempotency_key": idempotency_key})
        )
        return Receipt(
            PROVIDER, parent, idempotency_key, authorization.payment_method, amount, Kind.VOID, parent=parent
        )

    async def refund(self, receipt: Receipt, *, idempotency_key: str, amount: Money) -> Receipt:
        """Give money back; PaymentUnknown while Stripe has not decided yet."""
        wanted: RefundCreateParams = {
            "payment_intent": receipt.reference,
            "amount": minor_units(amount),
            "metadata": {_KEY: idempotency_key},
        }
        made = await _answer(self._client.v1.refunds.create_async(wanted, {"idempotency_key": idempotency_key}))
        found = _refund_receipt(made, idempotency_key, receipt.reference)
        if found.status is Answer.FAILED:
            raise PaymentFailed(f"Stripe refused the refund {made.id}: {made.failure_reason}")
        return found

    async def find(self, idempotency_key: str, *, kind: Kind, since: datetime, parent: str | None) -> Receipt | None:
        """Say what became of a request, by the lists and objects that Stripe keeps consistent; not by its search."""
        if kind is Kind.REFUND:
            refunds = await _answer(self._client.v1.refunds.list_async({"payment_intent": parent or "", "limit": 100}))
            async with _translated():
                async for made in refunds.auto_paging_iter():
                    if _noted(made, _KEY) == idempotency_key:
                        return _refund_receipt(made, idempotency_key, parent)
            return None
        if parent is not None:
            return _ended(await _answer(self._client.v1.payment_intents.retrieve_async(parent)), kind, idempotency_key)
        made_at = {
            "gte": int((since - _WINDOW_BEFORE).timestamp()),
            "lte": int((since + _WINDOW_AFTER).timestamp()),
        }
        listed = self._client.v1.payment_intents.list_async(
            {"created": {"gte": made_at["gte"], "lte": made_at["lte"]}, "limit": 100}
        )
        intents = await _answer(listed)
        async with _translated():
            async for intent in intents.auto_paging_iter():
                if _noted(intent, _KEY) == idempotency_key:
                    return _begun(intent, kind, idempotency_key)
        return None

    async def _pay(self, kind: Kind, key: str, amount: Money, method: PaymentMethod, token: str | None) -> Receipt:
        if token is None:
            raise InvalidInput("Stripe needs the token of the customer's payment method", hint="Pass `token`.")
        wanted: PaymentIntentCreateParams = {
            "amount": minor_units(amount),
            "currency": amount.currency.lower(),
            "payment_method": token,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "capture_method": "manual" if kind is Kind.AUTHORIZE else "automatic",
            "confirm": True,
            "error_on_requires_action": True,
            "metadata": {_KEY: key, _METHOD: method.value},
        }
        intent = await _answer(self._client.v1.payment_intents.create_async(wanted, {"idempotency_key": key}))
        receipt = _begun(intent, kind, key)
        if receipt.status is Answer.FAILED:
            raise PaymentFailed(f"Stripe declined {intent.id}: {intent.status}")
        return receipt


def _noted(thing: stripe.StripeObject, name: str) -> str | None:
    notes: dict[str, str] = thing.to_dict().get("metadata") or {}
    return notes.get(name)


def _begun(intent: stripe.PaymentIntent, kind: Kind, key: str) -> Receipt:
    """Read what became of a new payment."""
    method = PaymentMethod(_noted(intent, _METHOD) or PaymentMethod.CREDIT_CARD)
    amount = from_minor_units(intent.amount, intent.currency)
    # A later capture or cancellation shows that it was authorised; so it is, whatever it is now.
    authorised = kind is Kind.AUTHORIZE and (intent.latest_charge is not None or intent.status == "requires_capture")
    if intent.status == "succeeded" or (authorised and intent.status in ("requires_capture", "canceled")):
        return Receipt(PROVIDER, intent.id, key, method, amount, kind)
    if intent.status in ("requires_payment_method", "requires_action", "requires_confirmation", "canceled"):
        return Receipt(PROVIDER, intent.id, key, method, amount, kind, Answer.FAILED)
    raise PaymentUnknown(f"Stripe says of {intent.id}: {intent.status}")


def _ended(intent: stripe.PaymentIntent, kind: Kind, key: str) -> Receipt | None:
    """Read what became of the capture or the cancellation of an authorised payment."""
    if intent.status == "requires_capture":
        return None
    wanted = "succeeded" if kind is Kind.CAPTURE else "canceled"
    if intent.status not in ("succeeded", "canceled"):
        raise PaymentUnknown(f"Stripe says of {intent.id}: {intent.status}")
    units = intent.amount_received if kind is Kind.CAPTURE else intent.amount
    method = PaymentMethod(_noted(intent, _METHOD) or PaymentMethod.CREDIT_CARD)
    status = Answer.SUCCEEDED if intent.status == wanted else Answer.FAILED
    amount = from_minor_units(units, intent.currency)
    return Receipt(PROVIDER, intent.id, key, method, amount, kind, status, intent.id)


def _refund_receipt(made: stripe.Refund, key: str, parent: str | None) -> Receipt:
    if made.status not in ("succeeded", "failed", "canceled"):
        raise PaymentUnknown(f"Stripe says of {made.id}: {made.status}")
    status = Answer.SUCCEEDED if made.status == "succeeded" else Answer.FAILED
    amount = from_minor_units(made.amount, made.currency)
    return Receipt(PROVIDER, made.id, key, PaymentMethod.CREDIT_CARD, amount, Kind.REFUND, status, parent)


async def _answer(request: Awaitable[T]) -> T:
    async with _translated():
        return await request


@asynccontextmanager
async def _translated() -> AsyncGenerator[None]:
    """Raise Stripe's errors as ours: a refusal only where Stripe has said that it did nothing."""
    try:
        yield
    except stripe.StripeError as error:
        raise _translate(error) from error
    except (TimeoutError, OSError, aiohttp.ClientError) as error:
        raise PaymentUnknown(f"Stripe has not answered: {error!r}") from error


def _translate(error: stripe.StripeError) -> CloudLabError:
    said = error.user_message or str(error)
    if isinstance(error, stripe.IdempotencyError):
        return KeyReused(said)
    if isinstance(error, (stripe.CardError, stripe.InvalidRequestError)):
        return PaymentFailed(said, details=error.code or "")
    if isinstance(error, (stripe.AuthenticationError, stripe.PermissionError)):
        return ConfigError(f"Stripe refuses this API key: {said}", hint="Check the key in Stripe's dashboard.")
    # No connection, too many requests, a twin in flight, or Stripe's own failure: it may have been done or not.
    return PaymentUnknown(f"Stripe has not answered: {said}")


@asynccontextmanager
async def stripe_gateway(
    api_key: str, *, base_url: str | None = None, timeout_seconds: float = 30.0, retries: int = 2
) -> AsyncGenerator[StripeGateway]:
    """Open a gateway to Stripe.

    Args:
        api_key: The secret key.
        base_url: Another place than Stripe's, for tests.
        timeout_seconds: How long one attempt may take; keep `resolve_unknown` away from requests younger than this.
        retries: How often a request without an answer is sent again, under its key.
    """
    http = stripe.AIOHTTPClient(timeout=aiohttp.ClientTimeout(total=timeout_seconds))
    client = stripe.StripeClient(
        api_key,
        http_client=http,
        base_addresses={"api": base_url} if base_url else {},
        max_network_retries=retries,
    )
    try:
        yield StripeGateway(client)
    finally:
        await http.close_async()


class StripeWebhooks:
    """Reads what Stripe posts; `secret` is that of the endpoint, and signs every message."""

    def __init__(self, secret: str, *, tolerance_seconds: int = 300) -> None:
        self._secret = secret
        self._tolerance = tolerance_seconds

    def read(self, payload: bytes, headers: Mapping[str, str]) -> Message | None:
        """Return the message, None when it is of no interest here.

        Raises:
            Forbidden: The signature is missing, not Stripe's, or older than the tolerance.
        """
        signature = {name.lower(): value for name, value in headers.items()}.get("stripe-signature")
        try:
            signed = stripe.Webhook.construct_event(payload, signature, self._secret, self._tolerance, api_key="unused")
        except (stripe.SignatureVerificationError, ValueError) as error:
            raise Forbidden("this message was not signed by Stripe", details=str(error)) from error
        event = signed.to_dict()
        read = _READERS.get(event["type"])
        thing: dict[str, Any] = event["data"]["object"]
        found = read(thing) if read else None
        if found is None:
            return None
        kind, status, units = found
        request: dict[str, str | None] = event.get("request") or {}
        return Message(
            provider=PROVIDER,
            event_id=event["id"],
            kind=kind,
            status=status,
            reference=thing["id"],
            idempotency_key=request.get("idempotency_key") or _own_key(kind, thing),
            amount=from_minor_units(units, thing["currency"]),
            occurred_at=datetime.fromtimestamp(event["created"], UTC),
        )


def _own_key(kind: Kind, thing: Mapping[str, Any]) -> str | None:
    """Return the key under which a thing was made; that of the end of an authorisation only its request knows."""
    first = Kind.AUTHORIZE if thing.get("capture_method") == "manual" else Kind.CAPTURE
    notes: dict[str, str] = thing.get("metadata") or {}
    return notes.get(_KEY) if kind in (first, Kind.REFUND) else None


_Read = tuple[Kind, Answer, int]


def _read_success(intent: dict[str, Any]) -> _Read:
    return Kind.CAPTURE, Answer.SUCCEEDED, intent["amount_received"]


def _read_authorisation(intent: dict[str, Any]) -> _Read | None:
    is_kept = intent["status"] == "requires_capture"
    return (Kind.AUTHORIZE, Answer.SUCCEEDED, intent["amount"]) if is_kept else None


def _read_failure(intent: dict[str, Any]) -> _Read:
    kind = Kind.AUTHORIZE if intent["capture_method"] == "manual" else Kind.CAPTURE
    return kind, Answer.FAILED, intent["amount"]


def _read_cancellation(intent: dict[str, Any]) -> _Read:
    return Kind.VOID, Answer.SUCCEEDED, intent["amount"]


def _read_refund(refund: dict[str, Any]) -> _Read | None:
    if refund["status"] == "succeeded":
        return Kind.REFUND, Answer.SUCCEEDED, refund["amount"]
    is_refused = refund["status"] in ("failed", "canceled")
    return (Kind.REFUND, Answer.FAILED, refund["amount"]) if is_refused else None


_READERS = {
    "payment_intent.succeeded": _read_success,
    "payment_intent.amount_capturable_updated": _read_authorisation,
    "payment_intent.payment_failed": _read_failure,
    "payment_intent.canceled": _read_cancellation,
    "refund.created": _read_refund,
    "refund.updated": _read_refund,
    "refund.failed": _read_refund,
}
