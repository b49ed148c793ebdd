"""User accounts.

Who somebody is and how they are reached is sealed with a key of the tenant (`shop.user_fields`); an address or a number
is found by its blind index. Reading or writing any of it costs one round trip a session for the keys, however many
accounts there are; what only needs an account's id, as orders do, never asks for them.

Standard: §2.2 Column Constraints, §8.2 Soft Deletion, §9.1 Encryption at Rest
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from cloudlab.crypto import hash_password, verify_password
from cloudlab.errors import Duplicate, Forbidden, NotFound
from cloudlab.events import store as events
from cloudlab.events.types import event
from cloudlab.session import Session
from cloudlab.shop.user_fields import (
    EMAIL,
    PHONE,
    Contact,
    Person,
    SealedContact,
    SealedPerson,
    canonical,
    check_contact,
    check_person,
    open_contact,
    open_person,
    seal_contact,
    seal_person,
)
from cloudlab.tenancy import fields
from cloudlab.tenancy.fields import FieldKeys
from cloudlab.values import Stream, uuid7


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
    """A user account, without its password; what is sealed of it is opened."""

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
class _Row:
    user_id: UUID
    email: bytes | None
    role: str
    first_name: bytes | None
    last_name: bytes | None
    is_active: bool
    email_verified: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class _Registered:
    role: str
    is_active: bool
    email_verified: bool
    created_at: datetime


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
        email: Unique in the tenant whatever its case; at most 255 characters.
        first_name: Given name, 1 to 100 characters.
        last_name: Family name, 1 to 100 characters.
        password: Kept as a salted hash; without one nobody can log in.
        role: customer, vendor, admin or support.
        phone_number: In E.164 form.
        date_of_birth: At least 13 years ago.

    Raises:
        Duplicate: There is an account with this address.
        InvalidInput: A value breaks a constraint, whose name the message gives.
        ConfigError: There is no master key.
        Forbidden: The tenant's keys were erased.

    Cost: three round trips; two for every further one of a session, which knows the keys by then.
    """
    user_id, person, contact = uuid7(), Person(email, first_name, last_name), Contact(phone_number, date_of_birth)
    check_person(person)
    check_contact(contact)
    keys = await fields.keys(s)
    sealed, email_index = seal_person(keys, user_id, person)
    reached = seal_contact(keys, user_id, contact)
    try:
        made = await s.fetch_one(
            _Registered,
            """
            INSERT /* users.register */ INTO users
                (tenant_id, user_id, email, email_index, password_hash, role, first_name, last_name, phone_number,
                 phone_number_index, date_of_birth)
            VALUES (%(tenant_id)s::uuid, %(user_id)s::uuid, %(email)s::bytea, %(email_index)s::bytea, %(password_hash)s,
                    %(role)s::user_role, %(first_name)s::bytea, %(last_name)s::bytea, %(phone_number)s::bytea,
                    %(phone_number_index)s::bytea, %(date_of_birth)s::bytea)
            RETURNING role, is_active, email_verified, created_at
            """,
            tenant_id=s.tenant_id,
            user_id=user_id,
            email=sealed.email,
            email_index=email_index,
            password_hash=await asyncio.to_thread(hash_password, password) if password is not None else "!",
            role=role,
            first_name=sealed.first_name,
            last_name=sealed.last_name,
            phone_number=reached.phone_number,
            phone_number_index=reached.phone_number_index,
            date_of_birth=reached.date_of_birth,
        )
    except Duplicate as error:
        # What PostgreSQL says names the blind index, which tells nobody anything.
        raise Duplicate("there is an account with this e-mail address", details=error.details) from None
    user = User(user_id, email, made.role, first_name, last_name, made.is_active, made.email_verified, made.created_at)
    registered = UserRegistered(user_id=user.user_id, role=user.role)
    await events.append(s, user.stream, [registered], expected_version=events.NEW)
    return user


async def change_contact(
    s: Session, user_id: UUID, *, phone_number: str | None = None, date_of_birth: date | None = None
) -> None:
    """Replace how somebody is reached; None removes it. NotFound when there is no such account.

    Raises:
        InvalidInput: A value breaks a constraint, whose name the message gives.

    Cost: one round trip, two when there is anything to seal.
    """
    wanted = Contact(phone_number, date_of_birth)
    check_contact(wanted)
    # To remove something takes no key.
    sealed = (
        SealedContact(None, None, None)
        if wanted == Contact(None, None)
        else seal_contact(await fields.keys(s), user_id, wanted)
    )
    changed = await s.execute(
        """
        UPDATE /* users.change_contact */ users
        SET phone_number = %(phone_number)s::bytea, phone_number_index = %(phone_number_index)s::bytea,
            date_of_birth = %(date_of_birth)s::bytea
        WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
        phone_number=sealed.phone_number,
        phone_number_index=sealed.phone_number_index,
        date_of_birth=sealed.date_of_birth,
    )
    if not changed:
        raise NotFound(f"there is no account {user_id}")


async def contact(s: Session, user_id: UUID) -> Contact:
    """Return how somebody is reached; NotFound when there is no such account or it was deleted.

    Raises:
        InvariantBroken: A value was changed, or comes from another account or tenant.

    Cost: two round trips.
    """
    found = await s.fetch_one(
        SealedContact,
        """
        SELECT /* users.contact */ phone_number, phone_number_index, date_of_birth
        FROM users
        WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
    )
    return open_contact(await fields.keys(s, to_seal=False), user_id, found)


async def find_by_phone_number(s: Session, phone_number: str) -> list[User]:
    """Return the accounts with this number, newest last: several people may share one. Cost: two round trips."""
    keys = await fields.keys(s, to_seal=False)
    found = await s.fetch(
        _Row,
        """
        SELECT /* users.find_by_phone_number */ user_id, email, role, first_name, last_name, is_active, email_verified,
               created_at
        FROM users
        WHERE tenant_id = %(tenant_id)s::uuid AND phone_number_index = ANY (%(indexes)s::bytea[])
          AND deleted_at IS NULL
        ORDER BY user_id
        """,
        tenant_id=s.tenant_id,
        indexes=keys.indexes(PHONE, canonical(phone_number)),
    )
    return [_opened(keys, row) for row in found]


async def find(s: Session, user_id: UUID) -> User:
    """Return an account by id; NotFound when there is none or it was deleted. Cost: two round trips.

    Raises:
        InvariantBroken: A value was changed, or comes from another account, column or tenant.
    """
    found = await s.fetch_one(
        _Row,
        """
        SELECT /* users.find */ user_id, email, role, first_name, last_name, is_active, email_verified, created_at
        FROM users
        WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
    )
    return _opened(await fields.keys(s, to_seal=False), found)


async def find_by_email(s: Session, email: str) -> User:
    """Return an account by its address, whatever its case; NotFound when there is none. Cost: two round trips."""
    found = await find_by_emails(s, [email])
    if not found:
        # Without the address: it is nobody else's business, and an error ends in a log.
        raise NotFound("there is no account with this e-mail address", hint="Check the tenant and the address.")
    return found[email.lower()]


async def find_by_emails(s: Session, emails: Sequence[str]) -> dict[str, User]:
    """Return those of the accounts that exist, by their address in lower case. Cost: two round trips."""
    keys = await fields.keys(s, to_seal=False)
    found = await s.fetch(
        _Row,
        """
        SELECT /* users.find_by_emails */ user_id, email, role, first_name, last_name, is_active, email_verified,
               created_at
        FROM users
        WHERE tenant_id = %(tenant_id)s::uuid AND email_index = ANY (%(indexes)s::bytea[]) AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        indexes=[index for email in emails for index in keys.indexes(EMAIL, email)],
    )
    return {user.email.lower(): user for user in (_opened(keys, row) for row in found)}


def _opened(keys: FieldKeys, row: _Row) -> User:
    person = open_person(keys, row.user_id, SealedPerson(row.email, row.first_name, row.last_name))
    return User(
        row.user_id,
        person.email,
        row.role,
        person.first_name,
        person.last_name,
        row.is_active,
        row.email_verified,
        row.created_at,
    )


async def log_in(s: Session, *, email: str, password: str) -> UUID:
    """Return the id of the active account with this address and password.

    Raises:
        Forbidden: There is none; the message does not say which of the two was wrong.

    Cost: two round trips and one hash, whether there is such an account or not.
    """
    keys = await fields.keys(s, to_seal=False)
    found = await s.fetch(
        _Credentials,
        """
        SELECT /* users.log_in */ user_id, password_hash
        FROM users
        WHERE tenant_id = %(tenant_id)s::uuid AND email_index = ANY (%(indexes)s::bytea[])
          AND is_active AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        indexes=keys.indexes(EMAIL, email),
    )
    # A missing account is checked against a real hash too, so that time does not tell who has an account.
    known = found[0].password_hash if found else await asyncio.to_thread(hash_password, "")
    matches = await asyncio.to_thread(verify_password, password, known)
    if not found or not matches:
        raise Forbidden("the e-mail address or the password is wrong")
    return found[0].user_id


async def delete(s: Session, user_id: UUID) -> None:
    """Delete an account softly: it can no longer be found, its orders stay. NotFound when there is none."""
    known = await s.execute(
        """
        SELECT /* users.delete */ user_id FROM users
        WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid AND deleted_at IS NULL
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
    )
    if not known:
        raise NotFound(f"there is no account {user_id}")
    s.queue("SELECT /* users.delete */ soft_delete_user(%(user_id)s::uuid)", user_id=user_id)
    await events.append(s, Stream("User", user_id), [UserDeleted(user_id=user_id)], expected_version=None)
