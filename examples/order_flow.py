"""A customer buys two lamps: registered, placed, paid outside of any transaction, shipped, delivered.

cloudlab up
python examples/order_flow.py
"""

import asyncio
from uuid import uuid4

from cloudlab import Money, Platform
from cloudlab.shop import catalog, fulfilment, orders, readmodels, users
from cloudlab.shop.payments import PaymentMethod, Sandbox


async def main() -> list[str]:
    """Run the flow and return the states the order went through."""
    async with Platform.open(projections=readmodels.ALL) as platform:
        acme = await platform.create_tenant(f"example-{uuid4().hex[:8]}")

        async with platform.session(acme) as s:  # one tenant, one transaction
            ada = await users.register(s, email="ada@acme.test", first_name="Ada", last_name="Lovelace")
            lamp = await catalog.add(s, sku="LAMP", name="Lamp", price=Money("49.99", "EUR"), stock=10)
            order = await orders.place(
                s, user_id=ada.user_id, lines=[(lamp.product_id, 2)], idempotency_key="cart-4711"
            )
        # COMMIT: stock, order, lines, ledger, event and key are all there, or none.

        gateway = Sandbox()
        receipt = await gateway.capture(
            idempotency_key=f"{order.order_id}:capture", amount=order.total, payment_method=PaymentMethod.CREDIT_CARD
        )
        async with platform.session(acme) as s:
            await fulfilment.pay(s, order.order_id, receipt)
            await fulfilment.prepare(s, order.order_id)
            await fulfilment.ship(s, order.order_id, carrier="DHL", tracking_number="00340434")
            order = await fulfilment.deliver(s, order.order_id)

        async with platform.session(acme, user_id=ada.user_id, readonly=True) as s:
            page = await orders.list_for_user(s, ada.user_id, limit=20)
            for found in page.items:
                print(f"{found.order_number}  {found.status}  {found.total}")
            return [found.status for found in page.items]


if __name__ == "__main__":
    asyncio.run(main())
