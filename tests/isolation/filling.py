"""A shop with a row in every table, for tests that try to get at it from another one."""

from uuid import UUID

from cloudlab.platform import Platform
from cloudlab.shop import catalog, fulfilment, orders, returns, users, vendors
from cloudlab.shop.payments import PaymentMethod, Sandbox
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money


async def fill(platform: Platform, tenant: Tenant) -> None:
    async with platform.session(tenant) as s:
        user = await users.register(s, email="ada@shop.test", first_name="Ada", last_name="L")
        vendor = await vendors.join(s, vendor_name="Lumen")
        product = await catalog.add(
            s, sku="LAMP", name="Lamp", price=Money("10", "EUR"), stock=9, vendor_id=vendor.vendor_id
        )
        line = orders.OrderLine(product.product_id, 1)
        order = await orders.place(s, user_id=user.user_id, lines=[line], idempotency_key="k")
    receipt = await Sandbox().capture(idempotency_key="k", amount=order.total, payment_method=PaymentMethod.CREDIT_CARD)
    async with platform.session(tenant) as s:
        await fulfilment.pay(s, order.order_id, receipt)
        await fulfilment.prepare(s, order.order_id)
        await fulfilment.ship(s, order.order_id)
        await fulfilment.refund(s, order.order_id, receipt_for_refund(receipt), reason="test")
        note = returns.CreditLine(1, "LAMP", -1, Money("10", "EUR"), product.product_id)
        await returns.credit(s, "C1", [note], credited_at=order.placed_at, user_id=user.user_id)
        await fill_the_rest(s, user.user_id)


def receipt_for_refund(receipt):
    return type(receipt)(receipt.provider, "r", "refund", receipt.payment_method, receipt.amount)


async def fill_the_rest(s, user_id: UUID) -> None:
    """Rows that none of the verbs above has written."""
    tenant_id = s.tenant_id
    await s.execute(
        """
        INSERT INTO return_lines (tenant_id, order_id, line_number, return_id, quantity, is_restocked)
        SELECT tenant_id, order_id, line_number, uuidv7(), 1, false FROM order_items
        """
    )
    await s.execute(
        """
        INSERT INTO payment_webhooks (tenant_id, provider, event_id, transaction_type, status, provider_reference,
                                      amount, currency, occurred_at)
        VALUES (%(t)s::uuid, 'sandbox', 'e', 'capture', 'succeeded', 'r', 1, 'EUR', now())
        """,
        t=tenant_id,
    )
    await s.execute(
        "INSERT INTO categories (tenant_id, category_name, slug) VALUES (%(t)s::uuid, 'Lamps', 'lamps')", t=tenant_id
    )
    await s.execute(
        "INSERT INTO user_profiles (tenant_id, user_id) VALUES (%(t)s::uuid, %(u)s::uuid)", t=tenant_id, u=user_id
    )
    await s.execute(
        """
        INSERT INTO user_payment_methods (tenant_id, user_id, payment_method, provider, provider_token, card_last_four,
                                          card_type, expiry_month, expiry_year)
        VALUES (%(t)s::uuid, %(u)s::uuid, 'credit_card', 'sandbox', 'tok_1', '4242', 'visa', 1, 2030)
        """,
        t=tenant_id,
        u=user_id,
    )
    await s.execute(
        """
        INSERT INTO analytics_events (tenant_id, session_id, event_name, user_id)
        VALUES (%(t)s::uuid, 's', 'view', %(u)s::uuid)
        """,
        t=tenant_id,
        u=user_id,
    )
    await s.execute(
        "INSERT INTO application_logs (tenant_id, level, logger, message) VALUES (%(t)s::uuid, 'INFO', 'l', 'm')",
        t=tenant_id,
    )
    await s.execute(
        """
        WITH made AS (INSERT INTO cloudlab.saga_instances (tenant_id, saga_type, saga_data)
                      VALUES (%(t)s::uuid, 'checkout', '{}') RETURNING saga_id)
        SELECT saga_id FROM made
        """,
        t=tenant_id,
    )
    await s.execute(
        """
        INSERT INTO cloudlab.subject_keys (tenant_id, subject_id, wrapped_key, key_version)
        VALUES (%(t)s::uuid, %(u)s::uuid, '\\x01', 1)
        """,
        t=tenant_id,
        u=user_id,
    )
    await s.execute(
        """
        INSERT INTO cloudlab.event_snapshots (tenant_id, aggregate_id, event_version, schema_version, subject_id, state)
        VALUES (%(t)s::uuid, %(u)s::uuid, 1, 1, %(u)s::uuid, '{}')
        """,
        t=tenant_id,
        u=user_id,
    )
    await s.execute(
        """
        INSERT INTO cloudlab.saga_steps (tenant_id, saga_id, step_number, step_type)
        SELECT %(t)s::uuid, saga_id, 1, 'reserve' FROM cloudlab.saga_instances
        """,
        t=tenant_id,
    )
    await s.execute(
        """
        INSERT INTO cloudlab.saga_actions (tenant_id, saga_id, action, actor, reason)
        SELECT %(t)s::uuid, saga_id, 'retry', 'ada', 'r' FROM cloudlab.saga_instances
        """,
        t=tenant_id,
    )
