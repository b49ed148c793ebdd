"""What is sealed of an account: who somebody is, and how they are reached.

The database sees none of it in clear, so it cannot check it either: the formats hold here, before anything is sealed.
The address is found, and kept unique in its tenant, by a blind index whose key is never rotated.

Standard: §2.2 Column Constraints, §9.1 Encryption at Rest
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final
from uuid import UUID

from cloudlab.errors import InvalidInput
from cloudlab.tenancy.fields import Field, FieldKeys
from cloudlab.tenancy.rotation import SealedTable

EMAIL: Final = Field("users", "email", "email_index", is_unique=True, folds_case=True)
FIRST_NAME: Final = Field("users", "first_name")
LAST_NAME: Final = Field("users", "last_name")
PHONE: Final = Field("users", "phone_number", "phone_number_index")
BIRTH: Final = Field("users", "date_of_birth")
SEALED: Final = SealedTable(
    (EMAIL, FIRST_NAME, LAST_NAME, PHONE, BIRTH),
    count="""
        SELECT /* user_fields.SEALED */ count(*) FROM users
        WHERE substring(email FROM 1 FOR 4) <> %(newest)s::bytea
           OR substring(first_name FROM 1 FOR 4) <> %(newest)s::bytea
           OR substring(last_name FROM 1 FOR 4) <> %(newest)s::bytea
           OR substring(phone_number FROM 1 FOR 4) <> %(newest)s::bytea
           OR substring(date_of_birth FROM 1 FOR 4) <> %(newest)s::bytea
        """,
    read="""
        SELECT /* user_fields.SEALED */ user_id, email, first_name, last_name, phone_number, date_of_birth FROM users
        WHERE user_id > %(after)s::uuid
          AND (substring(email FROM 1 FOR 4) <> %(newest)s::bytea
               OR substring(first_name FROM 1 FOR 4) <> %(newest)s::bytea
               OR substring(last_name FROM 1 FOR 4) <> %(newest)s::bytea
               OR substring(phone_number FROM 1 FOR 4) <> %(newest)s::bytea
               OR substring(date_of_birth FROM 1 FOR 4) <> %(newest)s::bytea)
        ORDER BY tenant_id, user_id
        LIMIT %(limit)s::integer
        FOR UPDATE
        """,
    write="""
        UPDATE /* user_fields.SEALED */ users AS u
        SET email = n.email, first_name = n.first_name, last_name = n.last_name, phone_number = n.phone_number,
            phone_number_index = n.phone_number_index, date_of_birth = n.date_of_birth
        FROM unnest(%(ids)s::uuid[], %(email)s::bytea[], %(first_name)s::bytea[], %(last_name)s::bytea[],
                    %(phone_number)s::bytea[], %(phone_number_index)s::bytea[], %(date_of_birth)s::bytea[])
            AS n (user_id, email, first_name, last_name, phone_number, phone_number_index, date_of_birth)
        WHERE u.user_id = n.user_id
        """,
    reindex="""
        UPDATE /* user_fields.SEALED */ users AS u
        SET email_index = n.email_index
        FROM unnest(%(ids)s::uuid[], %(email_index)s::bytea[]) AS n (user_id, email_index)
        WHERE u.user_id = n.user_id
        """,
)
_EMAIL_FORMAT: Final = re.compile(r"[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+\.[^@.\s\x00-\x1f\x7f-\x9f]+")
_E164: Final = re.compile(r"\+?[1-9]\d{1,14}", re.ASCII)
_EMAIL_CHARACTERS: Final = 255
_NAME_CHARACTERS: Final = 100
_LEAST_AGE_YEARS: Final = 13


@dataclass(frozen=True, slots=True)
class Person:
    """Whose account it is.

    Attributes:
        email: Of at most 255 characters.
        first_name: Given name, of 1 to 100 characters.
        last_name: Family name, of 1 to 100 characters.
    """

    email: str
    first_name: str
    last_name: str


@dataclass(frozen=True, slots=True)
class SealedPerson:
    """A Person as the row holds it; what was erased is None."""

    email: bytes | None
    first_name: bytes | None
    last_name: bytes | None


@dataclass(frozen=True, slots=True)
class Contact:
    """How somebody is reached: a telephone number in E.164 form, and a birthday at least 13 years ago."""

    phone_number: str | None
    date_of_birth: date | None


@dataclass(frozen=True, slots=True)
class SealedContact:
    """A Contact as the row holds it, with the blind index of the number."""

    phone_number: bytes | None
    phone_number_index: bytes | None
    date_of_birth: bytes | None


def check_person(person: Person) -> None:
    """Refuse what the database would refuse if it could read it; InvalidInput names the constraint, never the value."""
    if len(person.email) > _EMAIL_CHARACTERS:
        raise InvalidInput("users: the value breaks chk_email_length", hint=f"At most {_EMAIL_CHARACTERS} characters.")
    if not _EMAIL_FORMAT.fullmatch(person.email):
        raise InvalidInput("users: the value breaks chk_email_format", hint="Write it as name@domain.tld.")
    for name, column in ((person.first_name, "first_name"), (person.last_name, "last_name")):
        if not 1 <= len(name) <= _NAME_CHARACTERS:
            raise InvalidInput(
                f"users: the value breaks chk_{column}_length", hint=f"A name has 1 to {_NAME_CHARACTERS} characters."
            )


def check_contact(contact: Contact) -> None:
    """Refuse what the database would refuse if it could read it; InvalidInput names the constraint, never the value."""
    if contact.phone_number is not None and not _E164.fullmatch(contact.phone_number):
        raise InvalidInput("users: the value breaks chk_phone_format", hint="Write it in E.164 form: +4930123456.")
    if contact.date_of_birth is not None and not _is_old_enough(contact.date_of_birth):
        raise InvalidInput("users: the value breaks chk_age_restriction")


def seal_person(keys: FieldKeys, user_id: UUID, person: Person) -> tuple[SealedPerson, bytes]:
    """Seal what `check_person` has let pass; return it with the blind index of the address. Cost: about 20 µs."""
    sealed = SealedPerson(
        keys.seal(EMAIL, user_id, person.email),
        keys.seal(FIRST_NAME, user_id, person.first_name),
        keys.seal(LAST_NAME, user_id, person.last_name),
    )
    return sealed, keys.index(EMAIL, person.email)


def open_person(keys: FieldKeys, user_id: UUID, sealed: SealedPerson) -> Person:
    """Open who somebody is; of a person or a tenant whose data was erased it says that and no more.

    Raises:
        InvariantBroken: A value was changed, or comes from another account, column or tenant.
    """
    email = keys.open(EMAIL, user_id, sealed.email)
    return Person(
        f"erased+{user_id}@erased.invalid" if email is None else email,
        keys.open(FIRST_NAME, user_id, sealed.first_name) or "erased",
        keys.open(LAST_NAME, user_id, sealed.last_name) or "erased",
    )


def seal_contact(keys: FieldKeys, user_id: UUID, contact: Contact) -> SealedContact:
    """Seal what `check_contact` has let pass."""
    # Sealed as it is indexed: a rotation makes the index anew from what it opens.
    phone, birth = contact.phone_number and canonical(contact.phone_number), contact.date_of_birth
    return SealedContact(
        keys.seal(PHONE, user_id, phone) if phone else None,
        keys.index(PHONE, phone) if phone else None,
        keys.seal(BIRTH, user_id, birth.isoformat()) if birth else None,
    )


def open_contact(keys: FieldKeys, user_id: UUID, sealed: SealedContact) -> Contact:
    """Open how somebody is reached; InvariantBroken when a value was changed or comes from somewhere else."""
    birth = keys.open(BIRTH, user_id, sealed.date_of_birth)
    return Contact(keys.open(PHONE, user_id, sealed.phone_number), date.fromisoformat(birth) if birth else None)


def canonical(phone_number: str) -> str:
    """Return a telephone number as it is sealed and indexed."""
    return "+" + phone_number.lstrip("+")


def _is_old_enough(born: date) -> bool:
    today = datetime.now(UTC).date()
    return (born.year + _LEAST_AGE_YEARS, born.month, born.day) <= (today.year, today.month, today.day)
