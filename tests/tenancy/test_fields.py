"""Sealed fields of rows: bound to their row, column and tenant, found by a blind index, gone with their key.

Standard: §9.1 Encryption at Rest
"""

import asyncio
import base64
import json
import re
import subprocess
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from cloudlab.config import Config, load
from cloudlab.crypto import Keyring, new_key
from cloudlab.errors import ConfigError, Duplicate, Forbidden, InvalidInput, InvariantBroken, NotFound, TimedOut
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.session import Session
from cloudlab.shop import catalog, erasure, payment_methods, user_fields, users
from cloudlab.shop.payment_methods import Card
from cloudlab.tenancy import fields, rotation
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import Money
from fixtures.commands import cloudlab, write_config
from fixtures.pgbouncer import THROUGH_PGBOUNCER
from fixtures.postgres import Cluster

ROUTES = THROUGH_PGBOUNCER

PHONE, BIRTH, HOLDER, ADDRESS = "+493012345678", date(1815, 12, 10), "Augusta Ada King", "12 St James's Square, London"
CARD = Card("sandbox", "tok_1", "4242", "visa", 1, 2030)
SEALED = (user_fields.SEALED, payment_methods.SEALED)


async def register(s: Session, number: int = 0, phone: str = PHONE) -> UUID:
    user = await users.register(
        s, email=f"u{number}@acme.test", first_name="A", last_name="K", phone_number=phone, date_of_birth=BIRTH
    )
    await payment_methods.keep(s, user.user_id, CARD, holder_name=HOLDER, billing_address=ADDRESS)
    return user.user_id


@pytest.fixture
async def ada(platform: Platform, acme: Tenant) -> UUID:
    async with platform.session(acme) as s:
        return await register(s)


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
    assert "acme.test" not in str(refused)
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


async def test_a_changed_byte_is_noticed(platform: Platform, acme: Tenant, ada: UUID):
    async with platform.session(acme) as s:
        await s.execute("UPDATE users SET phone_number = set_byte(phone_number, 20, get_byte(phone_number, 20) # 1)")
        with pytest.raises(InvariantBroken):
            await users.contact(s, ada)


async def test_a_dump_shows_no_sealed_field(platform: Platform, postgres: Cluster, acme: Tenant, ada: UUID):
    database = str(conninfo_to_dict(shard_config(platform.config, acme.shard).urls.owner_url)["dbname"])
    dump = subprocess.run(
        [postgres.binaries.program("pg_dump"), postgres.url(database, "postgres")],
        env=postgres.binaries.environment(), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert str(ada) in dump
    for clear in (PHONE, PHONE.lstrip("+"), BIRTH.isoformat(), HOLDER, ADDRESS):
        assert clear not in dump
        assert clear.encode().hex() not in dump
    assert not any(key.hex() in dump for key in platform.config.master_keys.values())


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


def opening(platform: Platform, tenant: Tenant) -> AbstractAsyncContextManager[Session]:
    return platform.session(tenant)


async def test_a_rotation_under_concurrent_writes_loses_nothing(platform: Platform, acme: Tenant):
    made: dict[UUID, str] = {}
    async with platform.session(acme) as s:
        for number in range(60):
            made[await register(s, number, f"+4930{number}")] = f"+4930{number}"
    stopped = asyncio.Event()

    async def write(worker: int) -> None:
        number = 0
        while not stopped.is_set():
            phone = f"+49{worker}77{number}"
            async with platform.session(acme) as s:
                if number % 2:
                    user_id = list(made)[number % len(made)]
                    await users.change_contact(s, user_id, phone_number=phone, date_of_birth=BIRTH)
                else:
                    user_id = await register(s, 1000 * worker + number, phone)
            made[user_id] = phone
            assert [user.user_id async for user in found(phone, user_id)] == [user_id]
            number += 1

    async def found(phone: str, wanted: UUID):
        async with platform.session(acme, readonly=True) as s:
            for user in await users.find_by_phone_number(s, phone):
                if user.user_id == wanted:
                    yield user

    writer = asyncio.create_task(write(1))
    seen: list[tuple[str, int, int]] = []
    for wanted in (2, 3):
        number, moved = await rotation.rotate(
            lambda: opening(platform, acme), SEALED, batch_size=7, progress=lambda *told: seen.append(told)
        )
        assert number == wanted
        assert moved >= 60
    stopped.set()
    await writer
    assert len(made) > 60
    assert {name for name, _, _ in seen} == {"users", "user_payment_methods"}
    async with platform.session(acme, readonly=True) as s:
        for user_id, phone in made.items():
            assert await users.contact(s, user_id) == users.Contact(phone, BIRTH)
            assert user_id in {user.user_id for user in await users.find_by_phone_number(s, phone)}
            account = await users.find(s, user_id)
            assert (account.first_name, account.last_name) == ("A", "K")
            assert (await users.find_by_email(s, account.email.upper())) == account
        left = await s.fetch_tuples(
            """
            SELECT DISTINCT substring(phone_number FROM 1 FOR 4), substring(phone_number_index FROM 1 FOR 4),
                substring(email FROM 1 FOR 4), substring(first_name FROM 1 FOR 4), substring(last_name FROM 1 FOR 4),
                substring(email_index FROM 1 FOR 4)
            FROM users
            """
        )
    assert left == [(*[b"\0\0\0\3"] * 5, b"\0\0\0\0")]


async def test_an_address_stays_unique_while_the_key_is_rotated(platform: Platform, acme: Tenant):
    """Pairs of clients fight over new addresses and over old ones; one account comes of each, whichever key is newest."""
    async with platform.session(acme) as s:
        for number in range(40):
            await register(s, number)
    stopped = asyncio.Event()
    won: list[UUID] = []

    async def open_account(email: str) -> UUID | None:
        try:
            async with platform.session(acme) as s:
                return (await users.register(s, email=email, first_name="A", last_name="B")).user_id
        except Duplicate:
            return None

    async def fight() -> None:
        number = 0
        while not stopped.is_set():
            new, old = f"n{number}@acme.test", f"U{number % 40}@Acme.test"
            *pair, taken = await asyncio.gather(open_account(new), open_account(new.upper()), open_account(old))
            (winner,) = [each for each in pair if each]
            assert taken is None
            async with platform.session(acme, readonly=True) as s:
                assert (await users.find_by_email(s, new)).user_id == winner
            won.append(winner)
            number += 1

    fighting = asyncio.create_task(fight())
    for _ in range(3):
        await rotation.rotate(lambda: opening(platform, acme), SEALED, batch_size=5)
    stopped.set()
    await fighting
    assert len(won) > 5
    async with platform.session(acme, readonly=True) as s:
        known = await users.find_by_emails(s, [f"N{number}@acme.test" for number in range(len(won))])
        assert [known[f"n{number}@acme.test"].user_id for number in range(len(won))] == won
        assert await s.fetch_tuples("SELECT count(*), count(DISTINCT email_index) FROM users") == [
            (40 + len(won), 40 + len(won))
        ]


async def test_a_rotation_that_broke_off_goes_on_with_its_key(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        made = [await register(s, number, f"+4930{number}") for number in range(10)]

    class Stopped(Exception):
        pass

    def stop(table: str, rows: int, total: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        await rotation.rotate(lambda: platform.session(acme), SEALED, batch_size=4, progress=stop)
    async with platform.session(acme, readonly=True) as s:
        # Both keys are in use, and everything is found and read.
        for number, user_id in enumerate(made):
            assert await users.contact(s, user_id) == users.Contact(f"+4930{number}", BIRTH)
            assert len(await users.find_by_phone_number(s, f"+4930{number}")) == 1
    # 4 of 10 users had been done: 6 of them and 10 payment methods were left.
    assert await rotation.rotate(lambda: platform.session(acme), SEALED) == (2, 16)
    assert await rotation.rotate(lambda: platform.session(acme), SEALED) == (3, 20)


async def test_a_rotation_waits_for_who_knows_only_the_old_key(platform: Platform, acme: Tenant, ada: UUID):
    async with platform.session(acme) as s:
        await users.contact(s, ada)
        with pytest.raises(TimedOut, match="was open for"):
            await rotation.rotate(lambda: platform.session(acme), SEALED, wait_seconds=0.2)
        # Meanwhile nobody was kept from working.
        async with platform.session(acme) as other:
            await register(other, 1)
    assert (await rotation.rotate(lambda: platform.session(acme), SEALED))[0] == 2


async def test_the_command_rotates_a_tenants_key(platform: Platform, acme: Tenant, ada: UUID, tmp_path: Path):
    write_config(platform.config, tmp_path)
    key = base64.b64encode(platform.config.master_keys[1]).decode()
    done = cloudlab(tmp_path, "key", "rotate", "--tenant", "acme", "--json", CLOUDLAB_MASTER_KEY=key)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"tenant": "acme", "key_number": 2, "rows": 2}
    async with platform.session(acme) as s:
        assert (await users.contact(s, ada)).phone_number == PHONE


def test_every_sealed_column_is_a_bytea_that_a_rotation_knows(postgres: Cluster, config: Config):
    owner = shard_config(config, "eu_west_001").urls.owner_url
    with psycopg.connect(owner) as conn:
        sealed = conn.execute(
            """
            SELECT c.relname, a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
            WHERE c.relnamespace = 'shop'::regnamespace AND a.attnum > 0
              AND col_description(c.oid, a.attnum) ~ 'sealed with a key of the tenant'
            """
        ).fetchall()
    assert {tuple(row) for row in sealed} == {(field.table, field.column) for table in SEALED for field in table.fields}
    for table in SEALED:
        for statement in (table.count, table.read, table.write):
            assert all(re.search(rf"\b{field.column}\b", statement) for field in table.fields)
