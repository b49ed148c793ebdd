"""What the sagas of the shop are given, and what their steps hand on."""

from dataclasses import dataclass, field
from uuid import UUID

from cloudlab.shop.gateway import PaymentMethod
from cloudlab.shop.order import Order
from cloudlab.shop.refunding import ReturnLine
from cloudlab.values import Money


@dataclass(frozen=True, slots=True)
class CheckoutOrder:
    """Which order is paid and how; `token` is how the provider calls the customer's card or account."""

    order_id: UUID
    payment_method: PaymentMethod
    provider: str
    token: str | None = None


@dataclass(frozen=True, slots=True)
class RefundWanted:
    """What is given back; see `refunding.begin_refund`."""

    order_id: UUID
    reason: str
    amount: Money | None = None
    lines: list[ReturnLine] = field(default_factory=list[ReturnLine])


@dataclass(frozen=True, slots=True)
class Bought:
    """An order that was placed, and the saga that sees to the rest."""

    order: Order
    saga_id: UUID


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the order came to when its checkout began."""

    total: Money
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class Authorised:
    """The payment that was authorised; None for an order that costs nothing."""

    payment_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Paid:
    """Who sends parcels; nobody, when the order was refunded or sent meanwhile."""

    vendors: list[UUID]


@dataclass(frozen=True, slots=True)
class Requested:
    """The keys of the requests to the providers."""

    requests: list[str]
