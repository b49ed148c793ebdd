"""Sealed fields of rows: bound to their row, column and tenant, found by a blind index, gone with their key.

Standard: §9.1 Encryption at Rest
"""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import LiteralString
from uuid import UUID

import pytest

from cloudlab.config import Config, load
from cloudlab.crypto import Keyring, new_key
from cloudlab.errors import ConfigError, Forbidden, InvalidInput, InvariantBroken, NotFound
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.session import Session
from cloudlab.shop import erasure, payment_methods, users
from cloudlab.tenancy import fields, rotation
from cloudlab.tenancy.tenants import Tenant, shard_config
from fixtures.pgbouncer import THROUGH_PGBOUNCER
from tenancy.sealing import ADDRESS, BIRTH, CARD, HOLDER, PHONE, SEALED, register

ROUTES = THROUGH_PGBOUNCER


async def raw(s: Session, user_id: UUID) -> tuple[bytes, bytes, bytes]:
    (row,) = await s.fetch_tuples(
        "SELECT phone_number, phone_number_index, date_of_birth FROM users WHERE user_id = %(u)s::uuid", u=user_id
    )
    return row


async def test_what_is_sealed_is_opened_and_found(platform: Platform, acme: Tenant, ada: UUID):
    async with platform.session(acme, readonly=True) as s:
        assert await users.contact(s, ada) == users.Contact(PHONE, BIRTH)
        assert [user.user_id for user in await users.find_by_phone_number(s, PHONE)] == [ada]
        assert [user.user_id for user in await users.find_by_phone_number(s, PHONE.lstrip("+"))] == [ada]
        assert await users.find_by_phone_number(s, "+4930") == []
        (saved,) = await payment_methods.list_for_user(s, ada)
    assert (saved.card, saved.holder_name, saved.billing_address) == (CARD, HOLDER, ADDRESS)


async def test_a_contact_is_changed_and_removed(platform: Platform, acme: Tenant, ada: UUID):
    async with platform.session(acme) as s:
        await users.change_contact(s, ada, phone_number="+4917")
        assert await users.contact(s, ada) == users.Contact("+4917", None)
        await users.change_contact(s, ada)
        assert await users.contact(s, ada) == users.Contact(None, None)
        with pytest.raises(NotFound):
            await users.change_contact(s, s.tenant_id)


@pytest.mark.parametrize(
    ("phone", "born", "constraint"),
    [("0049", None, "chk_phone_format"), (None, datetime.now(UTC).date(), "chk_age_restriction")],
)
async def test_the_formats_hold_although_the_database_cannot_read_them(
    platform: Platform, acme: Tenant, phone: str | None, born: date | None, constraint: str
):
    with pytest.raises(InvalidInput, match=constraint):
        async with platform.session(acme) as s:
            await users.register(
                s, email="a@b.test", first_name="A", last_name="B", phone_number=phone, date_of_birth=born
            )


CLEAR: dict[str, LiteralString] = {
    "email_sealed": "UPDATE users SET email = 'ada@acme.test'",
    "email_indexed": "UPDATE users SET email_index = 'ada@acme.test'",
    "first_name_sealed": "UPDATE users SET first_name = 'Augusta'",
    "last_name_sealed": "UPDATE users SET last_name = 'King'",
    "phone_number_sealed": "UPDATE users SET phone_number = '+493012345678'",
    "phone_number_indexed": "UPDATE users SET phone_number_index = '+493012345678'",
    "date_of_birth_sealed": "UPDATE users SET date_of_birth = '1815-12-10'",
    "known_or_erased": "UPDATE users SET email = NULL, email_index = NULL, first_name = NULL, last_name = NULL",
}


async def test_the_database_refuses_what_is_not_sealed(platform: Platform, acme: Tenant, ada: UUID):
    for constraint, statement in CLEAR.items():
        with pytest.raises(InvalidInput, match=f"chk_users_{constraint}"):
            async with platform.session(acme) as s:
                await s.execute(statement)
    with pytest.raises(InvalidInput, match="token_is_no_card"):
        async with platform.session(acme) as s:
            await payment_methods.keep(s, ada, replace(CARD, token="4242424242424242"))


async def test_a_value_moved_to_another_row_or_column_is_refused(platform: Platform, acme: Tenant, ada: UUID):
    async with platform.session(acme) as s:
        eve = await register(s, 1, "+4917")
        phone, index, birth = await raw(s, ada)
        await s.execute("UPDATE users SET phone_number = %(p)s::bytea WHERE user_id = %(u)s::uuid", p=phone, u=eve)
        with pytest.raises(InvariantBroken, match=r"not made for field .* users phone_number"):
            await users.contact(s, eve)
    async with platform.session(acme) as s:
        await s.execute(
            "UPDATE user_payment_methods SET holder_name = billing_address, billing_address = holder_name"
            " WHERE user_id = %(u)s::uuid",
            u=ada,
        )
        with pytest.raises(InvariantBroken):
            await payment_methods.list_for_user(s, ada)
    assert len({phone, index, birth}) == 3


async def test_a_value_moved_to_another_tenant_is_refused(platform: Platform, acme: Tenant, ada: UUID):
    rival = await platform.create_tenant("rival", region="eu-west-1")
    async with platform.session(acme) as s:
        phone, index, _ = await raw(s, ada)
    async with platform.session(rival) as s:
        eve = await register(s, 1)
        assert (await raw(s, eve))[1] != index
        await s.execute("UPDATE users SET phone_number = %(p)s::bytea WHERE user_id = %(u)s::uuid", p=phone, u=eve)
        with pytest.raises(InvariantBroken):
            await users.contact(s, eve)
    # Nor does it help to bring the key along: a wrapped key is bound to its tenant as well.
    async with platform.session(acme) as s:
        ((key,),) = await s.fetch_tuples("SELECT wrapped_key FROM tenant_keys WHERE key_number = 1")
    async with platform.session(rival) as s:
        await s.execute("UPDATE tenant_keys SET wrapped_key = %(k)s::bytea WHERE key_number = 1", k=key)
        with pytest.raises(InvariantBroken, match="tenant key"):
            await users.contact(s, eve)


@pytest.mark.parametrize(
    "statement",
    [
        """
        UPDATE users AS u SET email = o.email FROM users AS o
        WHERE u.user_id = %(eve)s::uuid AND o.user_id <> u.user_id
        """,
        """
        UPDATE users AS u SET first_name = o.first_name FROM users AS o
        WHERE u.user_id = %(eve)s::uuid AND o.user_id <> u.user_id
        """,
        """
        UPDATE users AS u SET last_name = o.last_name FROM users AS o
        WHERE u.user_id = %(eve)s::uuid AND o.user_id <> u.user_id
        """,
        "UPDATE users SET first_name = last_name, last_name = first_name WHERE user_id = %(eve)s::uuid",
        "UPDATE users SET first_name = email WHERE user_id = %(eve)s::uuid",
        "UPDATE users SET email = phone_number WHERE user_id = %(eve)s::uuid",
    ],
)
async def test_an_address_or_a_name_moved_to_another_row_or_column_is_refused(
    platform: Platform, acme: Tenant, ada: UUID, statement: LiteralString
):
    async with platform.session(acme) as s:
        eve = await register(s, 1)
        await s.execute(statement, eve=eve)
        for look in (users.find(s, eve), users.find_by_email(s, "u1@acme.test"), users.find_by_phone_number(s, PHONE)):
            with pytest.raises(InvariantBroken, match="not made for field"):
                await look


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET email = %(email)s::bytea WHERE %(first_name)s::bytea <> %(last_name)s::bytea",
        "UPDATE users SET first_name = %(first_name)s::bytea WHERE %(email)s::bytea <> %(last_name)s::bytea",
        "UPDATE users SET last_name = %(last_name)s::bytea WHERE %(email)s::bytea <> %(first_name)s::bytea",
    ],
)
async def test_an_address_or_a_name_moved_to_another_tenant_is_refused(
    platform: Platform, acme: Tenant, ada: UUID, statement: LiteralString
):
    rival = await platform.create_tenant("rival", region="eu-west-1")
    async with platform.session(acme) as s:
        theirs = await s.fetch_one(
            dict, "SELECT email, first_name, last_name FROM users WHERE user_id = %(u)s::uuid", u=ada
        )
        indexes = await s.fetch_tuples("SELECT email_index FROM users")
    async with platform.session(rival) as s:
        eve = await register(s)
        assert await s.fetch_tuples("SELECT email_index FROM users") != indexes
        await s.execute(statement, **theirs)
        with pytest.raises(InvariantBroken, match="not made for field"):
            await users.find(s, eve)


async def test_a_changed_byte_is_noticed(platform: Platform, acme: Tenant, ada: UUID):
    async with platform.session(acme) as s:
        await s.execute("UPDATE users SET phone_number = set_byte(phone_number, 20, get_byte(phone_number, 20) # 1)")
        with pytest.raises(InvariantBroken):
            await users.contact(s, ada)


async def test_an_erased_key_is_erased_data(platform: Platform, acme: Tenant, ada: UUID):
    async with platform.session(acme) as s:
        assert await fields.erase(s) == 2
    async with platform.session(acme) as s:
        assert await users.contact(s, ada) == users.Contact(None, None)
        assert await users.find_by_phone_number(s, PHONE) == []
        assert await users.find_by_emails(s, ["u0@acme.test"]) == {}
        found = await users.find(s, ada)
        assert (found.email, found.first_name) == (f"erased+{ada}@erased.invalid", "erased")
        assert (await payment_methods.list_for_user(s, ada))[0].holder_name is None
    with pytest.raises(Forbidden, match="erased"):
        async with platform.session(acme) as s:
            await register(s, 1)
    with pytest.raises(Forbidden, match="erased"):
        await rotation.rotate(lambda: platform.session(acme), SEALED)
    with pytest.raises(Forbidden, match="cannot have a key again"):
        async with platform.session(acme) as s:
            await s.execute("UPDATE tenant_keys SET wrapped_key = '\\x01', key_version = 1, erased_at = NULL")


async def test_erasing_a_person_removes_what_was_sealed(platform: Platform, acme: Tenant, ada: UUID):
    async with platform.session(acme) as s:
        await erasure.erase(s, ada)
        assert await raw(s, ada) == (None, None, None)
        assert await s.fetch_tuples(
            "SELECT email, email_index, first_name, last_name FROM users WHERE user_id = %(u)s::uuid", u=ada
        ) == [(None, None, None, None)]
        assert (await erasure.erase(s, ada)).is_empty
        # The address is free again.
        assert await register(s) != ada
        assert await payment_methods.list_for_user(s, ada) == []


async def test_a_person_of_a_tenant_without_keys_is_erased_too(platform: Platform, acme: Tenant, ada: UUID):
    async with platform.session(acme) as s:
        await fields.erase(s)
    async with platform.session(acme) as s:
        assert not (await erasure.erase(s, ada)).is_empty
        assert (await erasure.holdings(s, ada)).is_empty


async def test_a_kms_hands_out_the_master_key(config: Config):
    key = new_key()

    class Vault:
        async def load(self) -> dict[int, bytes]:
            return {7: key}

    async with Platform.open(replace(config, master_keys={}), master_keys=Vault()) as platform:
        acme = await platform.create_tenant("acme")
        async with platform.session(acme) as s:
            ada = await register(s)
        async with platform.session(acme) as s:
            assert await s.fetch_tuples("SELECT DISTINCT key_version FROM tenant_keys") == [(7,)]
            assert (await users.contact(s, ada)).phone_number == PHONE


def test_master_keys_stand_in_a_file_of_their_own(tmp_path: Path):
    (tmp_path / "keys.toml").write_text(f'1 = "{"A" * 43}="\n')
    (tmp_path / "cloudlab.toml").write_text(
        f'[encryption]\nkeys_file = "{tmp_path / "keys.toml"}"\n[cache]\nurl = "c"\n[analytics]\nurl = "a"\n'
        '[control]\napp_url = "a"\nowner_url = "a"\nworker_url = "a"\nreadonly_url = "a"\n'
        '[[shards]]\nname = "s"\nregion = "r"\napp_url = "a"\nowner_url = "a"\nworker_url = "a"\nreadonly_url = "a"\n'
    )
    assert dict(load(tmp_path / "cloudlab.toml", environ={}).master_keys) == {1: bytes(32)}
    (tmp_path / "keys.toml").write_text('1 = "secret')
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "cloudlab.toml", environ={})
    assert "secret" not in str(refused.value)


async def test_the_master_key_is_changed_under_the_tenants_keys(
    config: Config, platform: Platform, acme: Tenant, ada: UUID
):
    both = Keyring({**config.master_keys, 2: new_key()})
    url = shard_config(config, acme.shard).urls.worker_url
    async with Pools(config.limits) as pools:
        assert await fields.rewrap(pools, url, both, batch_size=1) == 2
        assert await fields.rewrap(pools, url, both) == 0
    with pytest.raises(ConfigError, match="master key 2"):
        async with platform.session(acme) as s:
            await users.contact(s, ada)
