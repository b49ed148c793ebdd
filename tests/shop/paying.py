"""What the tests of payments have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from uuid import UUID

from cloudlab.platform import Platform
from cloudlab.shop import catalog, fulfilment, invariants, inventory, orders, payments, vendors
from cloudlab.shop.gateway import Gateway, PaymentMethod
from cloudlab.shop.orders import Order
from cloudlab.shop.payments import Payment
from cloudlab.shop.sandbox import Sandbox
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money

CARD = PaymentMethod.CREDIT_CARD


def eur(amount: str) -> Money:
    return Money(amount, "EUR")


@dataclass
class Shop:
    """A tenant with goods of three vendors at awkward prices and rates."""

    platform: Platform
    tenant: Tenant
    products: Sequence[UUID]
    keys: Iterator[int] = field(default_factory=count)

    def new_key(self) -> str:
        """The same in every run, so that a scenario draws the same."""
        return f"key-{next(self.keys)}"

    def opener(self):
        return self.platform.session(self.tenant)

    async def place(self, *lines: tuple[int, int], key: str | None = None) -> Order:
        wanted = [(self.products[product], quantity) for product, quantity in lines]
        async with self.opener() as s:
            return await orders.place(s, lines=wanted, idempotency_key=key or self.new_key())

    async def charge(self, gateway: Gateway, order: Order, amount: Money | None = None, key: str | None = None):
        return await payments.charge(
            self.opener,
            gateway,
            order.order_id,
            payment_method=CARD,
            idempotency_key=key or self.new_key(),
            amount=amount,
        )

    async def authorize(self, gateway: Gateway, order: Order, amount: Money | None = None, key: str | None = None):
        return await payments.authorize(
            self.opener,
            gateway,
            order.order_id,
            payment_method=CARD,
            idempotency_key=key or self.new_key(),
            amount=amount,
        )

    async def capture(self, gateway: Gateway, payment_id: UUID, amount: Money | None = None, key: str | None = None):
        return await payments.capture(
            self.opener, gateway, payment_id, idempotency_key=key or self.new_key(), amount=amount
        )

    async def refund(
        self, gateway: Gateway, order: Order, amount: Money | None = None, key: str | None = None, lines=()
    ):
        return await payments.refund(
            self.opener, gateway, order.order_id, reason="test", idempotency_key=key or self.new_key(), amount=amount,
            lines=lines,
        )  # fmt: skip

    async def send(self, order: Order) -> None:
        async with self.opener() as s:
            await fulfilment.prepare(s, order.order_id)
            await fulfilment.ship(s, order.order_id)

    async def status(self, order: Order) -> str:
        async with self.opener() as s:
            return (await orders.find(s, order.order_id)).status

    async def payments(self, order: Order) -> list[Payment]:
        async with self.opener() as s:
            return await payments.list_for_order(s, order.order_id)

    async def level(self, product: int) -> inventory.Level:
        async with self.opener() as s:
            return await inventory.level(s, self.products[product])

    async def expire_holds(self) -> None:
        async with self.opener() as s:
            await s.execute("UPDATE inventory_reservations SET expires_at = now() - interval '1 second'")

    async def all_holds(self, gateway: Sandbox | None = None) -> None:
        """Check the promises, and that the provider's books say what ours say."""
        async with self.opener() as s:
            for verdict in await invariants.check(s):
                assert verdict.holds, verdict
            taken = await s.fetch(
                dict,
                """
                SELECT coalesce(sum(captured_amount), 0) AS captured, coalesce(sum(refunded_amount), 0) AS refunded
                FROM payments
                """,
            )
        if gateway is not None:
            theirs = (await gateway.sums()).get("EUR")
            ours = (taken[0]["captured"], taken[0]["refunded"])
            assert ours == ((theirs.captured, theirs.refunded) if theirs else (Decimal(0), Decimal(0)))


async def open_shop(platform: Platform, tenant: Tenant, *, stock: int = 1000) -> Shop:
    products = []
    async with platform.session(tenant) as s:
        for name, price, rate in (("A", "33.335", "0.125"), ("B", "0.01", "0.3333"), ("C", "19.99", "0.1")):
            vendor = await vendors.join(s, vendor_name=name, commission_rate=rate)
            product = await catalog.add(
                s, sku=name, name=name, price=eur(price), stock=stock, vendor_id=vendor.vendor_id
            )
            products.append(product.product_id)
    return Shop(platform, tenant, products)
