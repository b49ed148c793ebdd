"""The payment methods a customer keeps: the provider's token, and for display the last four digits of a card.

No card number is ever stored. The holder's name and the billing address are sealed with a key of the tenant.

Standard: §9.1 Encryption at Rest
"""

from dataclasses import dataclass
from uuid import UUID

from cloudlab.errors import NotFound
from cloudlab.session import Session
from cloudlab.shop.payments import PaymentMethod
from cloudlab.tenancy import fields
from cloudlab.tenancy.fields import Field, FieldKeys
from cloudlab.tenancy.rotation import SealedTable
from cloudlab.values import uuid7

HOLDER = Field("user_payment_methods", "holder_name")
ADDRESS = Field("user_payment_methods", "billing_address")
SEALED = SealedTable(
    (HOLDER, ADDRESS),
    count="""
        SELECT /* payment_methods.SEALED */ count(*) FROM user_payment_methods
        WHERE substring(holder_name FROM 1 FOR 4) <> %(newest)s::bytea
           OR substring(billing_address FROM 1 FOR 4) <> %(newest)s::bytea
        """,
    read="""
        SELECT /* payment_methods.SEALED */ payment_method_id, holder_name, billing_address FROM user_payment_methods
        WHERE payment_method_id > %(after)s::uuid
          AND (substring(holder_name FROM 1 FOR 4) <> %(newest)s::bytea
               OR substring(billing_address FROM 1 FOR 4) <> %(newest)s::bytea)
        ORDER BY tenant_id, payment_method_id
        LIMIT %(limit)s::integer
        FOR UPDATE
        """,
    write="""
        UPDATE /* payment_methods.SEALED */ user_payment_methods AS m
        SET holder_name = n.holder_name, billing_address = n.billing_address
        FROM unnest(%(ids)s::uuid[], %(holder_name)s::bytea[], %(billing_address)s::bytea[])
            AS n (payment_method_id, holder_name, billing_address)
        WHERE m.payment_method_id = n.payment_method_id
        """,
)


@dataclass(frozen=True, slots=True)
class Card:
    """What the provider says of a card: a token that only it can use, and what may be shown."""

    provider: str
    token: str
    last_four: str
    brand: str
    expiry_month: int
    expiry_year: int


@dataclass(frozen=True, slots=True)
class SavedMethod:
    """A payment method that a customer keeps, its sealed fields opened."""

    payment_method_id: UUID
    payment_method: str
    card: Card
    holder_name: str | None
    billing_address: str | None


async def keep(
    s: Session,
    user_id: UUID,
    card: Card,
    *,
    payment_method: PaymentMethod = PaymentMethod.CREDIT_CARD,
    holder_name: str | None = None,
    billing_address: str | None = None,
) -> UUID:
    """Keep a payment method for a customer and return its id.

    Raises:
        InvalidInput: There is no such customer, or a value breaks a constraint: a card number is no token.
        ConfigError: There is something to seal and no master key.

    Cost: one round trip, two when there is anything to seal.
    """
    method_id = uuid7()
    keys = await fields.keys(s) if holder_name or billing_address else None
    await s.execute(
        """
        INSERT /* payment_methods.keep */ INTO user_payment_methods
            (tenant_id, payment_method_id, user_id, payment_method, provider, provider_token, card_last_four, card_type,
             holder_name, billing_address, expiry_month, expiry_year)
        VALUES (%(tenant_id)s::uuid, %(method_id)s::uuid, %(user_id)s::uuid, %(payment_method)s::payment_method,
                %(provider)s, %(token)s, %(last_four)s, %(brand)s, %(holder_name)s::bytea, %(billing_address)s::bytea,
                %(month)s::integer, %(year)s::integer)
        """,
        tenant_id=s.tenant_id,
        method_id=method_id,
        user_id=user_id,
        payment_method=payment_method.value,
        provider=card.provider,
        token=card.token,
        last_four=card.last_four,
        brand=card.brand,
        holder_name=_sealed(keys, HOLDER, method_id, holder_name),
        billing_address=_sealed(keys, ADDRESS, method_id, billing_address),
        month=card.expiry_month,
        year=card.expiry_year,
    )
    return method_id


def _sealed(keys: FieldKeys | None, field: Field, row_id: UUID, text: str | None) -> bytes | None:
    return keys.seal(field, row_id, text) if keys and text else None


@dataclass(frozen=True, slots=True)
class _Row:
    payment_method_id: UUID
    payment_method: str
    provider: str
    provider_token: str
    card_last_four: str
    card_type: str
    expiry_month: int
    expiry_year: int
    holder_name: bytes | None
    billing_address: bytes | None


async def list_for_user(s: Session, user_id: UUID) -> list[SavedMethod]:
    """Return what a customer keeps, oldest first. Cost: two round trips."""
    rows = await s.fetch(
        _Row,
        """
        SELECT /* payment_methods.list_for_user */ payment_method_id, payment_method, provider, provider_token,
               card_last_four, card_type, expiry_month, expiry_year, holder_name, billing_address
        FROM user_payment_methods
        WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid
        ORDER BY payment_method_id
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
    )
    keys = await fields.keys(s, to_seal=False)
    return [_opened(keys, row) for row in rows]


def _opened(keys: FieldKeys, row: _Row) -> SavedMethod:
    card = Card(row.provider, row.provider_token, row.card_last_four, row.card_type, row.expiry_month, row.expiry_year)
    return SavedMethod(
        row.payment_method_id,
        row.payment_method,
        card,
        keys.open(HOLDER, row.payment_method_id, row.holder_name),
        keys.open(ADDRESS, row.payment_method_id, row.billing_address),
    )


async def drop(s: Session, payment_method_id: UUID) -> None:
    """Forget a payment method; NotFound when there is none. Cost: one round trip."""
    dropped = await s.execute(
        """
        DELETE /* payment_methods.drop */ FROM user_payment_methods
        WHERE tenant_id = %(tenant_id)s::uuid AND payment_method_id = %(method_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        method_id=payment_method_id,
    )
    if not dropped:
        raise NotFound(f"there is no payment method {payment_method_id}")
