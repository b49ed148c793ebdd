"""User accounts.

Telephone number and date of birth are sealed with a key of the tenant; a number can be found by its blind index.

Standard: §2.2 Column Constraints, §8.2 Soft Deletion, §9.1 Encryption at Rest
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from cloudlab.crypto import hash_password, verify_password
from cloudlab.errors import Forbidden, InvalidInput, NotFound
from cloudlab.events import store as events
from cloudlab.events.types import event
from cloudlab.session import Session
from cloudlab.tenancy import fields
from cloudlab.tenancy.fields import Field
from cloudlab.tenancy.rotation import SealedTable
from cloudlab.values import Stream, uuid7

PHONE = Field("users", "phone_number", "phone_number_index")
BIRTH = Field("users", "date_of_birth")
SEALED = SealedTable(
    (PHONE, BIRTH),
    count="""
        SELECT /* users.SEALED */ count(*) FROM users
        WHERE substring(phone_number FROM 1 FOR 4) <> %(newest)s::bytea
           OR substring(date_of_birth FROM 1 FOR 4) <> %(newest)s::bytea
        """,
    read="""
        SELECT /* users.SEALED */ user_id, phone_number, date_of_birth FROM users
        WHERE user_id > %(after)s::uuid
          AND (substring(phone_number FROM 1 FOR 4) <> %(newest)s::bytea
               OR substring(date_of_birth FROM 1 FOR 4) <> %(newest)s::bytea)
        ORDER BY tenant_id, user_id
        LIMIT %(limit)s::integer
        FOR UPDATE
        """,
    write="""
        UPDATE /* users.SEALED */ users AS u
        SET phone_number = n.phone_number, phone_number_index = n.phone_number_index, date_of_birth = n.date_of_birth
        FROM unnest(%(ids)s::uuid[], %(phone_number)s::bytea[], %(phone_number_index)s::bytea[],
                    %(date_of_birth)s::bytea[]) AS n (user_id, phone_number, phone_number_index, date_of_birth)
        WHERE u.user_id = n.user_id
        """,
)
_E164 = re.compile(r"\+?[1-9]\d{1,14}")
_LEAST_AGE_YEARS = 13


@event("UserRegistered")
class UserRegistered:
    """An account was opened. It says nothing of the person: what no event holds, none has to give up."""

    user_id: UUID
    role: str


@event("UserDeleted")
class UserDeleted:
    """An account was deleted softly."""

    user_id: UUID


@dataclass(frozen=True, slots=True)
class User:
    """A user account, without its password."""

    user_id: UUID
    email: str
    role: str
    first_name: str
    last_name: str
    is_active: bool
    email_verified: bool
    created_at: datetime

    @property
    def stream(self) -> Stream:
        """The events of this account."""
        return Stream("User", self.user_id)


@dataclass(frozen=True, slots=True)
class Contact:
    """What is sealed of an account, opened."""

    phone_number: str | None
    date_of_birth: date | None


@dataclass(frozen=True, slots=True)
class _SealedContact:
    phone_number: bytes | None
    date_of_birth: bytes | None


@dataclass(frozen=True, slots=True)
class _Credentials:
    user_id: UUID
    password_hash: str


async def register(
    s: Session,
    *,
    email: str,
    first_name: str,
    last_name: str,
    password: str | None = None,
    role: str = "customer",
    phone_number: str | None = None,
    date_of_birth: date | None = None,
) -> User:
    """Open an account.

    Args:
        s: The session.
        email: Unique in the tenant whatever its case.
        first_name: Given name.
        last_name: Family name.
        password: Kept as a salted hash; without one nobody can log in.
        role: customer, vendor, admin or support.
        phone_number: In E.164 form.
        date_of_birth: At least 13 years ago.

    Raises:
        Duplicate: There is an account with this address.
        InvalidInput: A value breaks a constraint, whose name the message gives.
        ConfigError: There is a telephone number or a date of birth, and no master key.

    Cost: two round trips; one more with a telephone number or a date of birth.
    """
    user_id = uuid7()
    phone, phone_index, birth = await _sealed(s, user_id, phone_number, date_of_birth)
    user = await s.fetch_one(
        User,
        """
        INSERT /* users.register */ INTO users
            (tenant_id, user_id, email, password_hash, role, first_name, last_name, phone_number, phone_number_index,
             date_of_birth)
        VALUES (%(tenant_id)s::uuid, %(user_id)s::uuid, %(email)s, %(password_hash)s, %(role)s::user_role,
                %(first_name)s, %(last_name)s, %(phone_number)s::bytea, %(phone_number_index)s::bytea,
                %(date_of_birth)s::bytea)
        RETURNING user_id, email, role, first_name, last_name, is_active, email_verified, created_at
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
        email=email,
        password_hash=await asyncio.to_thread(hash_password, password) if password is not None else "!",
        role=role,
        first_name=first_name,
        last_name=last_name,
        phone_number=phone,
        phone_number_index=phone_index,
        date_of_birth=birth,
    )
    registered = UserRegistered(user_id=user.user_id, role=user.role)
    await events.append(s, user.stream, [registered], expected_version=events.NEW)
    return user


async def _sealed(
    s: Session, user_id: UUID, phone_number: str | None, date_of_birth: date | None
) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Check and seal: what the database cannot read it cannot check either. The values are never shown."""
    if phone_number is None and date_of_birth is None:
        return None, None, None
    if phone_number is not None and not _E164.fullmatch(phone_number):
        raise InvalidInput("users: the value breaks chk_phone_format", hint="Write it in E.164 form: +4930123456.")
    if date_of_birth is not None and not _is_old_enough(date_of_birth):
        raise InvalidInput("users: the value breaks chk_age_restriction")
    keys = await fields.keys(s)
    # Sealed as it is indexed: a rotation makes the index anew from what it opens.
    phone = _canonical(phone_number) if phone_number else None
    return (
        keys.seal(PHONE, user_id, phone) if phone else None,
        keys.index(PHONE, phone) if phone else None,
        keys.seal(BIRTH, user_id, date_of_birth.isoformat()) if date_of_birth else None,
    )


def _canonical(phone_number: str) -> str:
    return "+" + phone_number.lstrip("+")


def _is_old_enough(born: date) -> bool:
    today = datetime.now(UTC).date()
    return (born.year + _LEAST_AGE_YEARS, born.month, born.day) <= (today.year, today.month, today.day)


async def change_contact(
    s: Session, user_id: UUID, *, phone_number: str | None = None, date_of_birth: date | None = None
) -> None:
    """Replace what is sealed of an account; None removes it. NotFound when there is no such account.

    Raises:
        InvalidInput: A value breaks a constraint, whose name the message gives.

    Cost: one round trip, two when there is anything to seal.
    """
    phone, phone_index, birth = await _sealed(s, user_id, phone_number, date_of_birth)
    changed = await s.execute(
        """
        UPDATE /* users.change_contact */ users
        SET phone_number = %(phone_number)s::bytea, phone_number_index = %(phone_number_index)s::bytea,
            date_of_birth = %(date_of_birth)s::bytea
        WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
        phone_number=phone,
        phone_number_index=phone_index,
        date_of_birth=birth,
    )
    if not changed:
        raise NotFound(f"there is no account {user_id}")


async def contact(s: Session, user_id: UUID) -> Contact:
    """Return what is sealed of an account; NotFound when there is none or it was deleted.

    Raises:
        InvariantBroken: A value was changed, or comes from another account or tenant.

    Cost: two round trips.
    """
    found = await s.fetch_one(
        _SealedContact,
        """
        SELECT /* users.contact */ phone_number, date_of_birth
        FROM users
        WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
    )
    keys = await fields.keys(s, to_seal=False)
    birth = keys.open(BIRTH, user_id, found.date_of_birth)
    return Contact(keys.open(PHONE, user_id, found.phone_number), date.fromisoformat(birth) if birth else None)


async def find_by_phone_number(s: Session, phone_number: str) -> list[User]:
    """Return the accounts with this number, newest last: several people may share one. Cost: two round trips."""
    keys = await fields.keys(s, to_seal=False)
    return await s.fetch(
        User,
        """
        SELECT /* users.find_by_phone_number */ user_id, email, role, first_name, last_name, is_active, email_verified,
               created_at
        FROM users
        WHERE tenant_id = %(tenant_id)s::uuid AND phone_number_index = ANY (%(indexes)s::bytea[])
          AND deleted_at IS NULL
        ORDER BY user_id
        """,
        tenant_id=s.tenant_id,
        indexes=keys.indexes(PHONE, _canonical(phone_number)),
    )


async def find(s: Session, user_id: UUID) -> User:
    """Return an account by id; NotFound when there is none or it was deleted."""
    return await s.fetch_one(
        User,
        """
        SELECT /* users.find */ user_id, email, role, first_name, last_name, is_active, email_verified, created_at
        FROM users
        WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
    )


async def find_by_email(s: Session, email: str) -> User:
    """Return an account by its address, whatever its case; NotFound when there is none."""
    return await s.fetch_one(
        User,
        """
        SELECT /* users.find_by_email */ user_id, email, role, first_name, last_name, is_active, email_verified,
               created_at
        FROM users
        WHERE tenant_id = %(tenant_id)s::uuid AND lower(email) = lower(%(email)s::text) AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        email=email,
    )


async def find_by_emails(s: Session, emails: Sequence[str]) -> dict[str, User]:
    """Return those of the accounts that exist, by their address in lower case. Cost: one round trip."""
    found = await s.fetch(
        User,
        """
        SELECT /* users.find_by_emails */ user_id, email, role, first_name, last_name, is_active, email_verified,
               created_at
        FROM users
        WHERE tenant_id = %(tenant_id)s::uuid AND lower(email) = ANY (%(emails)s::text[]) AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        emails=[email.lower() for email in emails],
    )
    return {user.email.lower(): user for user in found}


async def log_in(s: Session, *, email: str, password: str) -> UUID:
    """Return the id of the active account with this address and password.

    Raises:
        Forbidden: There is none; the message does not say which of the two was wrong.
    """
    found = await s.fetch(
        _Credentials,
        """
        SELECT /* users.log_in */ user_id, password_hash
        FROM users
        WHERE tenant_id = %(tenant_id)s::uuid AND lower(email) = lower(%(email)s::text)
          AND is_active AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        email=email,
    )
    # A missing account is checked against a real hash too, so that time does not tell who has an account.
    known = found[0].password_hash if found else await asyncio.to_thread(hash_password, "")
    matches = await asyncio.to_thread(verify_password, password, known)
    if not found or not matches:
        raise Forbidden("the e-mail address or the password is wrong")
    return found[0].user_id


async def delete(s: Session, user_id: UUID) -> None:
    """Delete an account softly: it can no longer be found, its orders stay. NotFound when there is none."""
    await find(s, user_id)
    s.queue("SELECT /* users.delete */ soft_delete_user(%(user_id)s::uuid)", user_id=user_id)
    await events.append(s, Stream("User", user_id), [UserDeleted(user_id=user_id)], expected_version=None)
