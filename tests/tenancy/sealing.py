"""What the tests of sealed fields have in common."""

from datetime import date
from uuid import UUID

from cloudlab.session import Session
from cloudlab.shop import payment_methods, user_fields, users
from cloudlab.shop.payment_methods import Card

PHONE, BIRTH, HOLDER, ADDRESS = "+493012345678", date(1815, 12, 10), "Augusta Ada King", "12 St James's Square, London"
CARD = Card("sandbox", "tok_1", "4242", "visa", 1, 2030)
SEALED = (user_fields.SEALED, payment_methods.SEALED)


async def register(s: Session, number: int = 0, phone: str = PHONE) -> UUID:
    user = await users.register(
        s, email=f"u{number}@acme.test", first_name="A", last_name="K", phone_number=phone, date_of_birth=BIRTH
    )
    await payment_methods.keep(s, user.user_id, CARD, holder_name=HOLDER, billing_address=ADDRESS)
    return user.user_id
