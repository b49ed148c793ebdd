"""Vendors: who sells in the shop, and what share the shop keeps.

Standard: §2.1 Table Naming
"""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from cloudlab.events import store as events
from cloudlab.session import Session
from cloudlab.values import NewEvent, Stream, uuid7

HOUSE = "house"


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor; `commission_rate` is the share of each sale that the shop keeps, 0 to 1."""

    vendor_id: UUID
    vendor_name: str
    status: str
    commission_rate: Decimal


async def join(s: Session, *, vendor_name: str, commission_rate: str | Decimal = "0.10") -> Vendor:
    """Admit a vendor.

    Raises:
        Duplicate: There is a vendor of this name.
        InvalidInput: The rate is not between 0 and 1.

    Cost: two round trips.
    """
    vendor = await s.fetch_one(
        Vendor,
        """
        INSERT /* vendors.join */ INTO vendors (tenant_id, vendor_id, vendor_name, commission_rate)
        VALUES (%(tenant_id)s::uuid, %(vendor_id)s::uuid, %(vendor_name)s, %(commission_rate)s::numeric)
        RETURNING vendor_id, vendor_name, status, commission_rate
        """,
        tenant_id=s.tenant_id,
        vendor_id=uuid7(),
        vendor_name=vendor_name,
        commission_rate=Decimal(commission_rate),
    )
    joined = NewEvent(
        "VendorJoined",
        {"vendor_id": vendor.vendor_id, "vendor_name": vendor_name, "commission_rate": str(vendor.commission_rate)},
    )
    await events.append(s, Stream("Vendor", vendor.vendor_id), [joined], expected_version=events.NEW)
    return vendor


async def find_by_name(s: Session, vendor_name: str) -> Vendor:
    """Return a vendor by name; NotFound when there is none."""
    return await s.fetch_one(
        Vendor,
        """
        SELECT /* vendors.find_by_name */ vendor_id, vendor_name, status, commission_rate
        FROM vendors
        WHERE tenant_id = %(tenant_id)s::uuid AND vendor_name = %(vendor_name)s
        """,
        tenant_id=s.tenant_id,
        vendor_name=vendor_name,
    )


async def house(s: Session) -> UUID:
    """Return the vendor that is the shop itself, made when first asked for. It pays no commission."""
    rows = await s.fetch(
        _vendor_id,
        """
        WITH made AS (
            INSERT /* vendors.house */ INTO vendors (tenant_id, vendor_name)
            VALUES (%(tenant_id)s::uuid, %(name)s)
            ON CONFLICT DO NOTHING
            RETURNING vendor_id)
        SELECT vendor_id FROM made
        UNION ALL
        SELECT vendor_id FROM vendors WHERE tenant_id = %(tenant_id)s::uuid AND vendor_name = %(name)s
        """,
        tenant_id=s.tenant_id,
        name=HOUSE,
    )
    # A twin that was made at this very moment is not in our snapshot yet: a second look finds it.
    return rows[0] if rows else (await find_by_name(s, HOUSE)).vendor_id


def _vendor_id(vendor_id: UUID) -> UUID:
    return vendor_id
