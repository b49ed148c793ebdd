"""Personal data in events: sealed for one place, opened with the person's key, gone with it for ever.

Standard: §9.1 Encryption at Rest
"""

import asyncio
import subprocess
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Any
from uuid import UUID, uuid4, uuid5

import psycopg
import pytest

from cloudlab.config import Config
from cloudlab.crypto import Keyring, new_key
from cloudlab.errors import CloudLabError, ConfigError, Forbidden, InvalidInput, InvariantBroken
from cloudlab.events import erasures, snapshots, subjects
from cloudlab.events import store as events
from cloudlab.events.projections import InlineProjection
from cloudlab.events.snapshots import Folded, SnapshotFormat
from cloudlab.events.types import typed
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.session import Session
from cloudlab.shop import erasure, users
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import Event, Money, NewEvent, Stream
from events.shapes import Subscribed
from fixtures.pgbouncer import THROUGH_PGBOUNCER
from fixtures.postgres import Cluster

ROUTES = THROUGH_PGBOUNCER

EMAIL = "ada.lovelace@secret.test"
KEPT = SnapshotFormat[dict[str, Any]](1, lambda state: state, lambda state: state)


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, master_keys={1: new_key()})


async def register(s: Session, email: str = EMAIL, last_name: str = "Lovelace") -> UUID:
    return (await users.register(s, email=email, first_name="Ada", last_name=last_name)).user_id


def subscribed(user_id: UUID, email: str = EMAIL) -> Subscribed:
    return Subscribed(
        user_id=user_id, plan="gold", email=email, nicknames=["Countess", EMAIL], spent=Money("9.90", "EUR")
    )


def subscription(user_id: UUID) -> Stream:
    return Stream("Subscription", uuid5(user_id, "subscription"))


async def subscribe(s: Session, user_id: UUID) -> None:
    await events.append(s, subscription(user_id), [subscribed(user_id)], expected_version=None)


async def read(platform: Platform, tenant: Tenant, of: UUID, *, user_id: UUID | None = None) -> list[object]:
    async with platform.session(tenant, readonly=True, user_id=user_id) as s:
        found = await events.read_stream(s, subscription(of))
        return [typed(event) for event in await subjects.reveal(s, found)]


async def erase(platform: Platform, tenant: Tenant, user_id: UUID) -> erasure.Holdings:
    async with platform.session(tenant) as s:
        return await erasure.erase(s, user_id)


def dumped(cluster: Cluster, url: str) -> str:
    """Return all that a backup of a database holds."""
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    return subprocess.run(
        [cluster.binaries.program("pg_dump"), cluster.url(str(name), "postgres")],
        env=cluster.binaries.environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def owner(platform: Platform, tenant: Tenant) -> str:
    return shard_config(platform.config, tenant.shard).urls.owner_url


async def test_a_personal_field_is_sealed_in_the_store_and_opened_on_reading(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        user_id = uuid4()
        await subscribe(s, user_id)
        await subscribe(s, user_id)
        (first, second) = await events.read_stream(s, subscription(user_id))
        with pytest.raises(InvalidInput, match=r"TestSubscribed\.email is sealed"):
            typed(first)
    bare = Subscribed(user_id=user_id, plan="gold", email=None, nicknames=None, spent=None)
    assert typed(first, sealed_as_none=True) == bare
    assert first.event_data["plan"] == "gold"
    assert first.event_data["email"].keys() == {"sealed", "subject"}
    assert first.event_data["email"] != second.event_data["email"]
    assert EMAIL not in str(first)
    assert await read(platform, acme, user_id) == [subscribed(user_id)] * 2


async def test_keys_of_many_persons_cost_one_round_trip(platform: Platform, acme: Tenant):
    stream, ids = Stream("Club", uuid4()), [uuid4() for _ in range(20)]
    async with platform.session(acme) as s:
        await events.append(s, stream, [subscribed(each) for each in ids], expected_version=0)
    async with platform.session(acme, readonly=True) as s:
        found = await events.read_stream(s, stream)
        asked: list[object] = []
        fetch = s.fetch

        async def counted(*arguments: Any, **named: Any) -> list[Any]:
            asked.append(arguments)
            return await fetch(*arguments, **named)

        s.fetch = counted  # type: ignore[method-assign]
        assert [typed(one) for one in await subjects.reveal(s, found)] == [subscribed(each) for each in ids]
        assert len(asked) == 1
        plain = [replace(found[0], event_data={"a": 1})]
        assert await subjects.reveal(s, plain) == plain
        assert len(asked) == 1


async def test_a_sealed_value_opens_nowhere_but_in_its_place(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        user_id = uuid4()
        await subscribe(s, user_id)
        (event,) = await events.read_stream(s, subscription(user_id))
        data = event.event_data
        swapped = {**data, "email": data["nicknames"]}
        for moved in (
            replace(event, event_data=swapped),
            replace(event, aggregate_id=uuid4()),
            replace(event, event_type="Other"),
            replace(event, event_data={**data, "email": {**data["email"], "sealed": "AAAA"}}),
            replace(event, event_data={**data, "email": {**data["email"], "sealed": "?"}}),
        ):
            with pytest.raises(InvariantBroken):
                await subjects.reveal(s, [moved])
        nobody = replace(event, event_data={"email": {"sealed": "AAAA", "subject": "nobody"}})
        assert await subjects.reveal(s, [nobody]) == [nobody]


async def test_without_a_master_key_nothing_personal_is_written(platform: Platform, acme: Tenant):
    bare = replace(platform.config, master_keys={})
    async with Platform.open(bare) as unprotected:
        with pytest.raises(ConfigError, match="no master key"):
            async with unprotected.session(acme) as s:
                await subscribe(s, uuid4())
        async with unprotected.session(acme) as s:
            await events.append(s, Stream("Thing", uuid4()), [NewEvent("Happened", {})], expected_version=0)
    assert "master_keys" not in repr(platform.config)


async def test_a_user_reads_of_personal_data_only_their_own(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        ada, bob = await register(s), await register(s, "bob@acme.test")
        await subscribe(s, ada)
    assert await read(platform, acme, ada, user_id=ada) == [subscribed(ada)]
    (seen,) = await read(platform, acme, ada, user_id=bob)
    assert isinstance(seen, Subscribed)
    assert (seen.plan, seen.email) == ("gold", None)
    with pytest.raises(Forbidden):
        async with platform.session(acme, user_id=bob) as s:
            await subscribe(s, uuid4())


async def test_after_erasure_the_person_stands_nowhere_in_a_backup(platform: Platform, acme: Tenant, postgres: Cluster):
    async with platform.session(acme) as s:
        ada, bob = await register(s), await register(s, "bob@acme.test", "Babbage")
        await subscribe(s, ada)
        await subscribe(s, bob)
        await s.execute(
            "INSERT INTO user_profiles (tenant_id, user_id, preferences)"
            " VALUES (%(t)s::uuid, %(u)s::uuid, jsonb_build_object('mail', %(e)s::text))",
            t=acme.tenant_id, u=ada, e=EMAIL,
        )  # fmt: skip
        await snapshots.save(s, subscription(ada), Folded({"email": EMAIL}, 1, 1), KEPT, subject_id=ada)
    assert EMAIL in dumped(postgres, owner(platform, acme))

    before = await erase(platform, acme, ada)
    assert asdict(before) == {
        "accounts": 1, "profiles": 1, "payment_methods": 0, "snapshots": 1, "keys": 1, "erased_at": None,
    }  # fmt: skip
    backup = dumped(postgres, owner(platform, acme))
    assert EMAIL not in backup
    assert "Lovelace" not in backup
    assert str(bob) in backup
    async with platform.session(acme, readonly=True) as s:
        assert (await users.find(s, bob)).last_name == "Babbage"
    assert await read(platform, acme, ada) == [
        Subscribed(user_id=ada, plan="gold", email=None, nicknames=None, spent=None)
    ]
    assert await read(platform, acme, bob) == [subscribed(bob)]
    async with platform.session(acme) as s:
        history = await events.read_stream(s, Stream("User", ada))
        version = await s.fetch_one(dict, "SELECT user_version FROM users WHERE user_id = %(u)s::uuid", u=ada)
    assert [event.event_type for event in history] == ["UserRegistered", "UserErased"]
    assert version == {"user_version": history[-1].event_version}


async def test_erasing_again_changes_nothing(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        ada = await register(s)
    assert not (await erase(platform, acme, ada)).is_empty
    again = await erase(platform, acme, ada)
    assert again.is_empty
    assert again.erased_at
    async with platform.session(acme) as s:
        assert len(await events.read_stream(s, Stream("User", ada))) == 2


async def test_what_is_said_of_an_erased_person_later_is_never_written(platform: Platform, acme: Tenant):
    ada = uuid4()
    await erase(platform, acme, ada)
    async with platform.session(acme) as s:
        await subscribe(s, ada)
        (event,) = await events.read_stream(s, subscription(ada))
        await snapshots.save(s, subscription(ada), Folded({"email": EMAIL}, 1, 1), KEPT, subject_id=ada)
        assert await s.execute("SELECT FROM event_snapshots") == 0
    assert event.event_data["email"] is None
    assert event.event_data["plan"] == "gold"


async def test_an_append_that_runs_beside_an_erasure_leaves_nothing_readable(platform: Platform, acme: Tenant):
    ada, stream = uuid4(), Stream("Late", uuid4())
    async with platform.session(acme) as s:
        await subscribe(s, ada)
    async with platform.session(acme) as writer:
        sealed = await subjects.sealed(writer, stream, [subscribed(ada)])
        await erase(platform, acme, ada)
        await events.append(writer, stream, sealed, expected_version=0)
    async with platform.session(acme, readonly=True) as s:
        (late,) = await subjects.reveal(s, await events.read_stream(s, stream))
    assert late.event_data["email"] is None


async def test_sessions_that_meet_a_new_person_at_the_same_time_share_one_key(platform: Platform, acme: Tenant):
    ada = uuid4()

    async def meet(number: int) -> Stream:
        stream = Stream("Subscription", uuid5(ada, str(number)))
        async with platform.session(acme) as s:
            await events.append(s, stream, [subscribed(ada)], expected_version=0)
        return stream

    streams = await asyncio.gather(*(meet(number) for number in range(8)))
    async with platform.session(acme, readonly=True) as s:
        for stream in streams:
            (event,) = await subjects.reveal(s, await events.read_stream(s, stream))
            assert typed(event) == subscribed(ada)
        assert await s.execute("SELECT FROM subject_keys") == 1


async def test_an_erasure_waits_for_whoever_keeps_a_snapshot_of_the_person(platform: Platform, acme: Tenant):
    ada = uuid4()
    async with platform.session(acme) as s:
        await subscribe(s, ada)
    async with platform.session(acme) as keeper:
        await snapshots.save(keeper, subscription(ada), Folded({"email": EMAIL}, 1, 1), KEPT, subject_id=ada)
        assert await keeper.execute("SELECT FROM event_snapshots") == 1
        erasing = asyncio.create_task(erase(platform, acme, ada))
        await asyncio.sleep(0.2)
        assert not erasing.done()
    await erasing
    async with platform.session(acme, readonly=True) as s:
        assert await s.execute("SELECT FROM event_snapshots") == 0


async def test_an_erased_person_cannot_have_a_key_again_whoever_asks(platform: Platform, acme: Tenant):
    ada = uuid4()
    await erase(platform, acme, ada)
    with pytest.raises(CloudLabError, match="was erased"):
        async with platform.session(acme) as s:
            await s.execute("UPDATE subject_keys SET wrapped_key = '\\x00', key_version = 1, erased_at = NULL")


async def test_read_models_follow_in_the_transaction_of_the_erasure(config: Config):
    followed: list[Event] = []

    async def follow(s: Session, happened: Sequence[Event]) -> None:
        followed.extend(happened)

    inline = InlineProjection("follow", frozenset({"UserErased"}), follow)
    async with Platform.open(config, projections=[inline]) as platform:
        tenant = await platform.create_tenant("acme")
        async with platform.session(tenant) as s:
            ada = await register(s)
        await erase(platform, tenant, ada)
    assert [event.event_data for event in followed] == [{"user_id": str(ada)}]


async def test_the_ledger_erases_again_what_a_restore_brought_back(platform: Platform, acme: Tenant):
    async with platform.session(acme) as s:
        ada, bob = await register(s), await register(s, "bob@acme.test")
        await subscribe(s, ada)
    before = await rows_of(platform, acme, ada)
    async with Pools(platform.config.limits) as pools:
        await erasures.request(pools, platform.config, acme.tenant_id, ada)
        await erasures.request(pools, platform.config, acme.tenant_id, ada)
        await erase(platform, acme, ada)
        await bring_back(platform, acme, ada, before)
        assert await read(platform, acme, ada) == [subscribed(ada)]

        @asynccontextmanager
        async def open_session(tenant_id: UUID) -> AsyncGenerator[Session]:
            async with platform.session(await platform.tenant(tenant_id)) as s:
                yield s

        ledger = await erasures.requested(pools, platform.config)
        assert [(entry.tenant_id, entry.subject_id) for entry in ledger] == [(acme.tenant_id, ada)]
        assert await erasure.replay_erasures(open_session, ledger) == 1
        assert await erasure.replay_erasures(open_session, ledger) == 0
        assert await erasures.requested(pools, platform.config, uuid4()) == []
    (seen,) = await read(platform, acme, ada)
    assert isinstance(seen, Subscribed)
    assert seen.email is None
    async with platform.session(acme) as s:
        assert (await users.find(s, bob)).email == "bob@acme.test"
        assert await s.execute("SELECT FROM users WHERE user_id = %(u)s::uuid AND email IS NOT NULL", u=ada) == 0


async def rows_of(platform: Platform, tenant: Tenant, user_id: UUID) -> dict[str, Any]:
    async with platform.session(tenant) as s:
        return await s.fetch_one(
            dict,
            "SELECT u.email, u.email_index, u.first_name, u.last_name, k.wrapped_key, k.key_version"
            " FROM users u JOIN subject_keys k ON k.subject_id = u.user_id WHERE u.user_id = %(u)s::uuid",
            u=user_id,
        )


async def bring_back(platform: Platform, tenant: Tenant, user_id: UUID, row: dict[str, Any]) -> None:
    """Do to a person's rows what restoring a backup does: no trigger is asked."""
    with psycopg.connect(owner(platform, tenant), autocommit=True) as conn:
        conn.execute("ALTER TABLE cloudlab.subject_keys NO FORCE ROW LEVEL SECURITY")
        conn.execute("ALTER TABLE shop.users NO FORCE ROW LEVEL SECURITY")
        conn.execute("ALTER TABLE cloudlab.subject_keys DISABLE TRIGGER USER")
        conn.execute(
            "UPDATE cloudlab.subject_keys SET wrapped_key = %s, key_version = %s, erased_at = NULL"
            " WHERE subject_id = %s",
            [row["wrapped_key"], row["key_version"], user_id],
        )
        conn.execute(
            "UPDATE shop.users SET email = %s, email_index = %s, first_name = %s, last_name = %s, deleted_at = NULL,"
            " is_active = true WHERE user_id = %s",
            [row["email"], row["email_index"], row["first_name"], row["last_name"], user_id],
        )
        conn.execute("ALTER TABLE cloudlab.subject_keys ENABLE TRIGGER USER")


async def test_a_new_master_key_takes_over_in_batches_while_everything_stays_readable(platform: Platform, acme: Tenant):
    ids = [uuid4() for _ in range(7)]
    async with platform.session(acme) as s:
        for each in ids:
            await subscribe(s, each)
        await subjects.erase(s, ids[0])
    url = shard_config(platform.config, acme.shard).urls.worker_url
    old, new = platform.config.master_keys[1], new_key()
    both = replace(platform.config, master_keys={1: old, 2: new})
    batches: list[int] = []
    async with Platform.open(both) as rotating, Pools(platform.config.limits) as pools:

        def interrupt(count: int) -> None:
            batches.append(count)
            if len(batches) == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await subjects.rotate_master_key(pools, url, Keyring(both.master_keys), batch_size=2, progress=interrupt)
        assert await read(rotating, acme, ids[3]) == [subscribed(ids[3])]
        assert await subjects.rotate_master_key(pools, url, Keyring(both.master_keys), batch_size=2) == 2
        assert await subjects.rotate_master_key(pools, url, Keyring(both.master_keys)) == 0
    assert batches == [2, 2]
    async with Platform.open(replace(both, master_keys={2: new})) as rotated:
        for each in ids[1:]:
            assert await read(rotated, acme, each) == [subscribed(each)]
    async with Platform.open(replace(both, master_keys={2: new_key()})) as wrong:
        with pytest.raises(InvariantBroken):
            await read(wrong, acme, ids[1])
    with pytest.raises(ConfigError, match="master key 2 is not configured"):
        await read(platform, acme, ids[1])
