"""Event classes for the tests: a gift in its third version, and a subscription with personal fields."""

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from cloudlab.events.types import event, personal, upcaster
from cloudlab.values import Money


@upcaster("TestGifted", from_version=1)
def _wrapped(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "wrapping": None}


@upcaster("TestGifted", from_version=2)
def _priced(data: dict[str, Any]) -> dict[str, Any]:
    amount = data.pop("price")
    return {**data, "price": {"amount": amount, "currency": "EUR"}}


@event("TestGifted", version=3)
class Gifted:
    order_id: UUID
    price: Money
    wrapping: str | None
    tags: list[str]
    weight: Decimal | None = None
    opened_at: datetime | None = None
    is_secret: bool = False


@event("TestSubscribed")
class Subscribed:
    user_id: UUID
    plan: str
    email: str | None = personal(subject="user_id")
    nicknames: list[str] | None = personal(subject="user_id")
    spent: Money | None = personal(subject="user_id")
