"""User accounts.

Standard: §2.2 Column Constraints, §8.2 Soft Deletion
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from cloudlab.crypto import hash_password, verify_password
from cloudlab.errors import Forbidden
from cloudlab.events import store as events
from cloudlab.events.types import event
from cloudlab.session import Session
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

    Cost: two round trips.
    """
    user = await s.fetch_one(
        User,
        """
        INSERT /* users.register */ INTO users
            (tenant_id, user_id, email, password_hash, role, first_name, last_name, phone_number, date_of_birth)
        VALUES (%(tenant_id)s::uuid, %(user_id)s::uuid, %(email)s, %(password_hash)s, %(role)s::user_role,
                %(first_name)s, %(last_name)s, %(phone_number)s, %(date_of_birth)s::date)
        RETURNING user_id, email, role, first_name, last_name, is_active, email_verified, created_at
        """,
        tenant_id=s.tenant_id,
        user_id=uuid7(),
        email=email,
        password_hash=await asyncio.to_thread(hash_password, password) if password is not None else "!",
        role=role,
        first_name=first_name,
        last_name=last_name,
        phone_number=phone_number,
        date_of_birth=date_of_birth,
    )
    registered = UserRegistered(user_id=user.user_id, role=user.role)
    await events.append(s, user.stream, [registered], expected_version=events.NEW)
    return user


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
