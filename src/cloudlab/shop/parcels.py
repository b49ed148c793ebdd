"""Sending an order in parts: one parcel by each vendor, and the order is shipped with the last of them.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

from uuid import UUID

from cloudlab.session import Session
from cloudlab.shop import reservations
from cloudlab.shop.order import Order
from cloudlab.shop.orders import Change, advance_all, find, note, record_all
from cloudlab.shop.payment_requests import standing


async def vendors_of(s: Session, order_id: UUID) -> list[UUID]:
    """Return the vendors that still have something of an order to send, sorted. Cost: one round trip."""
    return await s.fetch(
        _vendor,
        """
        SELECT /* parcels.vendors_of */ DISTINCT i.vendor_id
        FROM order_items AS i
        WHERE i.tenant_id = %(tenant_id)s::uuid AND i.order_id = %(order_id)s::uuid
          AND NOT EXISTS (
              SELECT FROM shipments AS p
              WHERE p.tenant_id = i.tenant_id AND p.order_id = i.order_id AND p.vendor_id = i.vendor_id)
        ORDER BY i.vendor_id
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
    )


def _vendor(vendor_id: UUID) -> UUID:
    return vendor_id


async def send(
    s: Session, order_id: UUID, vendor_id: UUID, *, carrier: str | None = None, tracking_number: str | None = None
) -> Order:
    """Record that a vendor has sent its part of an order; with the last part, processing → shipped.

    An order that is not in preparation, because it was refunded or sent whole, and a part that was sent before stay as
    they are. The stock leaves with the last parcel.

    Cost: five round trips, six with the last parcel, and COMMIT; locks the order, at last its stock.
    """
    found = await standing(s, order_id)
    left = await vendors_of(s, order_id)
    if found.status != "processing" or vendor_id not in left:
        return await find(s, order_id)
    s.queue(
        """
        INSERT /* parcels.send */ INTO shipments (tenant_id, order_id, vendor_id, carrier, tracking_number, shipped_at)
        VALUES (%(tenant_id)s::uuid, %(order_id)s::uuid, %(vendor_id)s::uuid, %(carrier)s, %(tracking_number)s, now())
        """,
        tenant_id=s.tenant_id,
        order_id=order_id,
        vendor_id=vendor_id,
        carrier=carrier,
        tracking_number=tracking_number,
    )
    facts = {"vendor_id": vendor_id, "carrier": carrier, "tracking_number": tracking_number}
    order = await note(s, order_id, "ParcelSent", facts)
    return order if left != [vendor_id] else await _shipped(s, order_id)


async def _shipped(s: Session, order_id: UUID) -> Order:
    ((order, _),) = await advance_all(s, [Change(order_id=order_id)], to="shipped")
    await record_all(s, [order], "OrderShipped")
    reservations.queue_status(s, [order_id], "shipped")
    reservations.queue_stock(s, [order_id], available=0, reserved=-1, reason="shipment")
    return order
