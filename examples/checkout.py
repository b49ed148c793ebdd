"""Customers pay: one order is paid and sent, one card is declined, who comes too late is refused; then money goes back.

cloudlab up
python examples/checkout.py
"""

import asyncio
from uuid import UUID, uuid4

from cloudlab import Money, Platform, Worker
from cloudlab.errors import OutOfStock
from cloudlab.shop import catalog, orders, readmodels
from cloudlab.shop.checkout import Checkout
from cloudlab.shop.gateway import PaymentMethod
from cloudlab.shop.order import NewOrder
from cloudlab.shop.refunding import ReturnLine
from cloudlab.shop.sandbox import Sandbox


async def main() -> list[str]:
    """Sell lamps; return how each checkout ended, and the state of the order whose money was given back."""
    checkout = Checkout(Sandbox(declines_above=Money("200", "EUR")))  # in production: stripe_gateway(…)
    async with Platform.open(projections=readmodels.ALL, sagas=checkout.definitions) as platform:
        acme = await platform.create_tenant(f"example-{uuid4().hex[:8]}")
        async with platform.session(acme) as s:
            lamp = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("49.99", "EUR"), stock=7)

        async def buy(quantity: int) -> tuple[UUID, UUID]:
            cart = NewOrder(lines=[(lamp.product_id, quantity)], idempotency_key=f"cart-{quantity}")
            bought = await checkout.buy(platform, acme, cart, payment_method=PaymentMethod.CREDIT_CARD)
            return bought.order.order_id, bought.saga_id

        worker = asyncio.create_task(Worker(platform).run())  # or `cloudlab worker`, in processes of its own
        said: list[str] = []
        (order_id, paid), (_, declined) = await buy(2), await buy(5)
        try:
            await buy(1)  # all seven are held now
        except OutOfStock as error:
            said.append(error.message)
        said += [(await platform.sagas.ended(acme, saga_id)).status for saga_id in (paid, declined)]

        async with platform.session(acme) as s:  # one lamp came back and may be sold again
            returned = [ReturnLine(line_number=1, quantity=1, restock=True)]
            refund = await checkout.give_back(
                s, order_id, reason="one too many", idempotency_key="rma-1", lines=returned
            )
        said.append((await platform.sagas.ended(acme, refund)).status)
        async with platform.session(acme, readonly=True) as s:
            said.append((await orders.find(s, order_id)).status)
        worker.cancel()
        await asyncio.wait([worker])
        print(*said, sep="\n")
    return said


if __name__ == "__main__":
    asyncio.run(main())
