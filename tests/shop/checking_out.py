"""A shop whose checkouts run: what the tests of the checkout have in common."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.sagas import SagaState
from cloudlab.shop import readmodels
from cloudlab.shop.checkout import Checkout
from cloudlab.shop.checkout_data import Bought
from cloudlab.shop.gateway import Gateway
from cloudlab.shop.notifying import Notice
from cloudlab.shop.order import NewOrder
from cloudlab.values import Money
from sagas.making import journal, running
from shop.paying import CARD, Shop, open_shop


class Postbox:
    """Keeps what customers were told, once for each key."""

    def __init__(self) -> None:
        self.notices: dict[str, Notice] = {}

    async def notify(self, notice: Notice, *, idempotency_key: str) -> None:
        self.notices[idempotency_key] = notice

    def told(self) -> list[str]:
        return [notice.what for notice in self.notices.values()]


@dataclass
class Till(Shop):
    """A shop with its checkout."""

    checkout: Checkout = None  # type: ignore[assignment]
    postbox: Postbox = None  # type: ignore[assignment]

    async def buy(self, *lines: tuple[int, int], key: str | None = None) -> Bought:
        wanted = [(self.products[product], quantity) for product, quantity in lines]
        order = NewOrder(lines=wanted, idempotency_key=key or self.new_key())
        return await self.checkout.buy(self.platform, self.tenant, order, payment_method=CARD)

    async def ended(self, saga_id: UUID, within_seconds: float = 20) -> SagaState:
        return await self.platform.sagas.ended(self.tenant, saga_id, within_seconds=within_seconds)

    async def give_back(self, order_id: UUID, amount: Money | None = None, lines=(), key: str | None = None) -> UUID:
        async with self.opener() as s:
            return await self.checkout.give_back(
                s, order_id, reason="test", idempotency_key=key or self.new_key(), amount=amount, lines=lines
            )

    async def steps(self, saga_id: UUID) -> list[tuple[str, str, str]]:
        rows = await journal(self.platform, self.tenant, saga_id)
        return [(name, direction, status) for name, direction, _, status in rows]


@asynccontextmanager
async def opened(
    config: Config, gateway: Gateway, *, placement: str = "row", stock: int = 1000, **options: object
) -> AsyncGenerator[Till]:
    """Open a shop whose checkouts run in this process."""
    postbox = Postbox()
    checkout = Checkout(gateway, notifier=postbox)
    async with Platform.open(config, projections=readmodels.ALL, sagas=checkout.definitions) as platform:
        tenant = await platform.create_tenant("acme", region="eu-west-1", placement=placement)
        shop = await open_shop(platform, tenant, stock=stock)
        async with running(platform, tenant, **options):
            yield Till(platform, tenant, shop.products, shop.keys, checkout, postbox)
