"""A tenant's key is changed while it works: nothing is lost, everything is found, what was unique stays so.

Standard: §9.1 Encryption at Rest
"""

import asyncio
import base64
import json
import re
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.errors import Duplicate, TimedOut
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.shop import erasure, users
from cloudlab.tenancy import rotation
from cloudlab.tenancy.tenants import Tenant, shard_config
from fixtures.commands import cloudlab, write_config
from fixtures.pgbouncer import THROUGH_PGBOUNCER
from fixtures.postgres import Cluster
from tenancy.sealing import BIRTH, PHONE, SEALED, register

ROUTES = THROUGH_PGBOUNCER


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
    """Pairs of clients fight over new addresses and over old ones; one account comes of each, whatever the key."""
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
    rotations = 0
    while rotations < 3 or len(won) < 6:
        await rotation.rotate(lambda: opening(platform, acme), SEALED, batch_size=5)
        rotations += 1
        assert not fighting.done(), fighting
    stopped.set()
    await fighting
    async with platform.session(acme, readonly=True) as s:
        known = await users.find_by_emails(s, [f"N{number}@acme.test" for number in range(len(won))])
        assert [known[f"n{number}@acme.test"].user_id for number in range(len(won))] == won
        assert await s.fetch_tuples("SELECT count(*), count(DISTINCT email_index) FROM users") == [
            (40 + len(won), 40 + len(won))
        ]


async def test_a_leaked_index_key_is_replaced_and_addresses_stay_unique(
    platform: Platform, acme: Tenant, tmp_path: Path
):
    async with platform.session(acme) as s:
        made = [await register(s, number) for number in range(9)]
        await erasure.erase(s, made[0])
        before = dict(await s.fetch_tuples("SELECT user_id, email_index FROM users"))
    assert await rotation.replace_index_key(lambda: platform.session(acme), SEALED, batch_size=3) == 8
    write_config(platform.config, tmp_path)
    done = cloudlab(tmp_path, "key", "rotate", "--tenant", "acme", "--index", "--json")
    assert json.loads(done.stdout) == {"tenant": "acme", "rows": 8}
    assert cloudlab(tmp_path, "key", "rotate", "--index").returncode == 2
    async with platform.session(acme) as s:
        after = dict(await s.fetch_tuples("SELECT user_id, email_index FROM users"))
        assert not set(after.values()) - {None} & set(before.values())
        assert (await users.find_by_email(s, "U3@acme.test")).user_id == made[3]
        assert len(await users.find_by_phone_number(s, PHONE)) == 8
    with pytest.raises(Duplicate):
        async with platform.session(acme) as s:
            await register(s, 3)


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
