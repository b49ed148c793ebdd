"""Accounts: who somebody is is sealed, checked before, found by a blind index and unique in its tenant.

Standard: §2.2 Column Constraints, §9.1 Encryption at Rest
"""

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from cloudlab.config import Config
from cloudlab.errors import ConfigError, Duplicate, InvalidInput
from cloudlab.platform import Platform
from cloudlab.shop import catalog, users
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Money
from fixtures.pgbouncer import THROUGH_PGBOUNCER
from tenancy.sealing import register

ROUTES = THROUGH_PGBOUNCER


@pytest.mark.parametrize(
    ("email", "first_name", "constraint"),
    [
        ("secret", "A", "chk_email_format"),
        ("secret@b", "A", "chk_email_format"),
        ("se cret@b.test", "A", "chk_email_format"),
        ("se\x07cret@b.test", "A", "chk_email_format"),
        ("secret@b.test\n", "A", "chk_email_format"),
        (f"secret{'x' * 244}@b.test", "A", "chk_email_length"),
        ("a@b.test", "", "chk_first_name_length"),
        ("a@b.test", "secret" + "x" * 95, "chk_first_name_length"),
    ],
)
async def test_an_address_and_a_name_are_checked_before_they_are_sealed_and_never_shown(
    platform: Platform, acme: Tenant, email: str, first_name: str, constraint: str
):
    with pytest.raises(InvalidInput, match=constraint) as refused:
        async with platform.session(acme) as s:
            await users.register(s, email=email, first_name=first_name, last_name="B")
    assert "secret" not in f"{refused.value} {refused.value.details} {refused.value.hint}"


async def test_the_longest_address_and_names_fit(platform: Platform, acme: Tenant):
    email, name = "\N{GRINNING FACE}" * 248 + "@b.test", "\N{GRINNING FACE}" * 100
    async with platform.session(acme) as s:
        made = await users.register(s, email=email, first_name=name, last_name=name)
        assert await users.find(s, made.user_id) == made
        assert await users.find_by_email(s, email.upper()) == made
        shortest = await users.register(s, email="a@b.c", first_name="A", last_name="B")
        assert await users.find_by_email(s, "A@B.C") == shortest


async def test_an_address_is_unique_whatever_its_case_while_the_account_exists(platform: Platform, acme: Tenant):
    async def register_as(email: str) -> UUID:
        async with platform.session(acme) as s:
            return (await users.register(s, email=email, first_name="A", last_name="B")).user_id

    outcomes = await asyncio.gather(
        *(register_as(email) for email in ("Ada@acme.test", "ada@ACME.test")), return_exceptions=True
    )
    (taken,) = [each for each in outcomes if isinstance(each, UUID)]
    (refused,) = [each for each in outcomes if isinstance(each, Duplicate)]
    assert refused.details == "uq_users_email"
    assert str(refused) == "there is an account with this e-mail address"
    async with platform.session(acme) as s:
        await users.delete(s, taken)
    assert await register_as("ADA@acme.test") != taken


async def test_a_session_reads_its_keys_once_however_many_accounts_it_opens(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        made = [await register(s, number) for number in range(3)]
    async with platform.session(acme, readonly=True) as s:
        for each in made:
            await users.find(s, each)
        # Three accounts, the key that seals and the key that indexes.
        assert s.rows_touched == 3 + 2


async def test_without_a_master_key_no_account_is_opened_and_the_rest_works(config: Config):
    async with Platform.open(replace(config, master_keys={})) as platform:
        acme = await platform.create_tenant("acme")
        async with platform.session(acme) as s:
            await catalog.add(s, sku="LAMP", name="Lamp", price=Money("10", "EUR"), stock=9)
            assert await users.find_by_emails(s, ["a@b.test"]) == {}
        with pytest.raises(ConfigError, match="no master key") as refused:
            async with platform.session(acme) as s:
                await users.register(s, email="a@b.test", first_name="A", last_name="B")
        assert "CLOUDLAB_MASTER_KEY" in (refused.value.hint or "")
