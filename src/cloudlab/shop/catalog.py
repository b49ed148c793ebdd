"""The catalogue: what may be bought, and at what price.

Its copies in the cache may lag for a moment; a price is decided when the order is placed, by the database.

Standard: §3.1 Eventual Consistency (AP from CAP), §1.2 Data Domain Mapping
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from cloudlab.cache import Cache, Versioned
from cloudlab.errors import InvalidInput
from cloudlab.events import store as events
from cloudlab.session import Session
from cloudlab.shop import vendors
from cloudlab.values import Money, NewEvent, Page, Stream, decode_cursor, encode_cursor, uuid7


@dataclass(frozen=True, slots=True)
class Product:
    """A product as the catalogue describes it; how many there are is inventory's to say."""

    product_id: UUID
    vendor_id: UUID
    sku: str
    name: str
    description: str | None
    status: str
    price: Money
    version: int

    @property
    def stream(self) -> Stream:
        """The events of this product."""
        return Stream("Product", self.product_id)


def _product(
    product_id: UUID,
    vendor_id: UUID,
    sku: str,
    name: str,
    description: str | None,
    status: str,
    price: Decimal,
    currency: str,
    product_version: int,
) -> Product:
    return Product(product_id, vendor_id, sku, name, description, status, Money(price, currency), product_version)


async def add(
    s: Session,
    *,
    sku: str,
    name: str,
    price: Money,
    stock: int = 0,
    vendor_id: UUID | None = None,
    description: str | None = None,
) -> Product:
    """Add a product and, if there is any, its first stock.

    Args:
        s: The session.
        sku: Unique in the tenant for ever.
        name: Shown to customers.
        price: Of one unit.
        stock: Units received with it.
        vendor_id: Who sells it; by default the shop itself.
        description: Shown to customers.

    Raises:
        Duplicate: There is a product with this SKU.
        InvalidInput: A value breaks a constraint, whose name the message gives.

    Cost: two round trips, three with the house as vendor.
    """
    if stock < 0:
        raise InvalidInput(f"{sku}: a stock of {stock} is negative")
    product = await s.fetch_one(
        _product,
        """
        INSERT /* catalog.add */ INTO products
            (tenant_id, product_id, vendor_id, sku, name, description, price, currency)
        VALUES (%(tenant_id)s::uuid, %(product_id)s::uuid, %(vendor_id)s::uuid, %(sku)s, %(name)s, %(description)s,
                %(price)s::numeric, %(currency)s)
        RETURNING product_id, vendor_id, sku, name, description, status, price, currency, product_version
        """,
        tenant_id=s.tenant_id,
        product_id=uuid7(),
        vendor_id=vendor_id or await vendors.house(s),
        sku=sku,
        name=name,
        description=description,
        price=price.amount,
        currency=price.currency,
    )
    s.queue(
        """
        INSERT /* catalog.add */ INTO inventory (tenant_id, product_id, available_quantity)
        VALUES (%(tenant_id)s::uuid, %(product_id)s::uuid, %(stock)s::integer)
        """,
        tenant_id=s.tenant_id,
        product_id=product.product_id,
        stock=stock,
    )
    s.queue(
        """
        INSERT /* catalog.add */ INTO inventory_updates (tenant_id, product_id, delta_available, delta_reserved, reason)
        SELECT %(tenant_id)s::uuid, %(product_id)s::uuid, %(stock)s::integer, 0, 'receipt' WHERE %(stock)s::integer > 0
        """,
        tenant_id=s.tenant_id,
        product_id=product.product_id,
        stock=stock,
    )
    added = NewEvent("ProductAdded", {**_facts(product), "stock": stock})
    await events.append(s, product.stream, [added], expected_version=events.NEW)
    return product


async def change_price(s: Session, product_id: UUID, price: Money, *, expected_version: int | None = None) -> Product:
    """Change the price, in the product's own currency, from now on.

    Raises:
        NotFound: There is no such product in that currency.
        VersionConflict: It is no longer at the expected version.

    Cost: two round trips.
    """
    product = await s.fetch_one(
        _product,
        """
        UPDATE /* catalog.change_price */ products
        SET price = %(price)s::numeric, product_version = product_version + 1
        WHERE tenant_id = %(tenant_id)s::uuid AND product_id = %(product_id)s::uuid AND currency = %(currency)s
          AND deleted_at IS NULL
        RETURNING product_id, vendor_id, sku, name, description, status, price, currency, product_version
        """,
        tenant_id=s.tenant_id,
        product_id=product_id,
        price=price.amount,
        currency=price.currency,
    )
    before = product.version - 1
    changed = NewEvent("ProductPriceChanged", _facts(product))
    await events.append(
        s, product.stream, [changed], expected_version=before if expected_version is None else expected_version
    )
    return product


async def find(s: Session, product_id: UUID) -> Product:
    """Return a product by id; NotFound when there is none or it was deleted. Cost: one round trip."""
    return await s.fetch_one(
        _product,
        """
        SELECT /* catalog.find */ product_id, vendor_id, sku, name, description, status, price, currency,
               product_version
        FROM products
        WHERE tenant_id = %(tenant_id)s::uuid AND product_id = %(product_id)s::uuid AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        product_id=product_id,
    )


async def find_by_sku(s: Session, sku: str) -> Product:
    """Return a product by its SKU; NotFound when there is none or it was deleted. Cost: one round trip."""
    return await s.fetch_one(
        _product,
        """
        SELECT /* catalog.find_by_sku */ product_id, vendor_id, sku, name, description, status, price, currency,
               product_version
        FROM products
        WHERE tenant_id = %(tenant_id)s::uuid AND sku = %(sku)s AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        sku=sku,
    )


async def find_by_skus(s: Session, skus: Sequence[str]) -> dict[str, Product]:
    """Return those of the products that exist, by their SKU. Cost: one round trip."""
    found = await s.fetch(
        _product,
        """
        SELECT /* catalog.find_by_skus */ product_id, vendor_id, sku, name, description, status, price, currency,
               product_version
        FROM products
        WHERE tenant_id = %(tenant_id)s::uuid AND sku = ANY (%(skus)s::varchar[]) AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        skus=list(skus),
    )
    return {product.sku: product for product in found}


async def list_products(s: Session, *, limit: int = 50, after: str | None = None) -> Page[Product]:
    """Return a page of the catalogue, by SKU. Cost: one round trip, the same at any depth.

    Raises:
        BadCursor: `after` is not the `next` of a page of this listing.
    """
    (sku,) = decode_cursor("products", after) if after else ("",)
    products = await s.fetch(
        _product,
        """
        SELECT /* catalog.list_products */ product_id, vendor_id, sku, name, description, status, price, currency,
               product_version
        FROM products
        WHERE tenant_id = %(tenant_id)s::uuid AND sku > %(sku)s AND deleted_at IS NULL
        ORDER BY sku
        LIMIT %(limit)s::integer
        """,
        tenant_id=s.tenant_id,
        sku=sku,
        limit=limit + 1,
    )
    items = products[:limit]
    return Page(items, encode_cursor("products", [items[-1].sku]) if len(products) > limit else None)


async def view(
    cache: Cache, session: Callable[[], AbstractAsyncContextManager[Session]], tenant_id: UUID, product_id: UUID
) -> Product:
    """Return a product as a customer sees it: from the cache, or through a session opened for it.

    Cost: one round trip to the cache on a hit; on a miss one session per process, however many ask.
    """

    async def load() -> Versioned:
        async with session() as s:
            product = await find(s, product_id)
        return Versioned(product.version, _facts(product))

    found = await cache.get(cache_key(tenant_id, product_id), load)
    data = found.data
    return Product(
        product_id=product_id,
        vendor_id=UUID(data["vendor_id"]),
        sku=data["sku"],
        name=data["name"],
        description=data["description"],
        status=data["status"],
        price=Money(data["price"], data["currency"]),
        version=found.version,
    )


def cache_key(tenant_id: UUID, product_id: UUID) -> str:
    """Return the key of a product's copy; the braces keep a tenant's keys on one node of a cluster."""
    return f"{{{tenant_id}}}:product:{product_id}"


def _facts(product: Product) -> dict[str, object]:
    return {
        "product_id": str(product.product_id),
        "vendor_id": str(product.vendor_id),
        "sku": product.sku,
        "name": product.name,
        "description": product.description,
        "status": product.status,
        "price": str(product.price.amount),
        "currency": product.price.currency,
    }
