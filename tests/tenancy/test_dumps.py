"""What somebody steals who steals a dump: after a shop has traded, nothing personal stands in any store in clear.

Standard: §9.1 Encryption at Rest
"""

import asyncio
import base64
import subprocess
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from psycopg.conninfo import conninfo_to_dict
from valkey.asyncio import Valkey

from cloudlab.analytics import Analytics
from cloudlab.config import Config
from cloudlab.events import erasures, snapshots
from cloudlab.events import store as events
from cloudlab.events.snapshots import Folded, SnapshotFormat
from cloudlab.postgres.pool import Pools
from cloudlab.shop import catalog, erasure, fulfilment, payment_methods, returns, user_fields, users
from cloudlab.shop.order import NewOrder
from cloudlab.shop.payment_methods import Card
from cloudlab.shop.refunding import ReturnLine
from cloudlab.shop.sandbox import Sandbox
from cloudlab.tenancy import rotation
from cloudlab.values import Cause, Money, Stream, uuid7
from events.shapes import Subscribed
from fixtures.moving import catch_up, move
from fixtures.postgres import Cluster
from sagas.making import running
from shop.checking_out import Till, opened
from shop.paying import CARD

KEPT = SnapshotFormat[dict[str, str]](1, lambda state: state, lambda state: state)


@dataclass(frozen=True)
class Somebody:
    """A person of whom every value occurs nowhere else in the world."""

    number: int

    @property
    def mark(self) -> str:
        return f"zanzibar{self.number}quokka"

    @property
    def email(self) -> str:
        return f"Mail.{self.mark}@{self.mark}-Host.example"

    @property
    def phone(self) -> str:
        return f"+4930777{self.number:06}"

    @property
    def born(self) -> date:
        return date(1931 + self.number, 7, 19)

    @property
    def values(self) -> list[str]:
        """Everything that was put in of this person, in the forms in which it could stand somewhere."""
        # The mark is in the address, the names, the holder of the card, the place to bill, the events and snapshots.
        return [self.mark, self.phone, self.phone.lstrip("+"), self.born.isoformat()]


async def join(till: Till, person: Somebody) -> UUID:
    """Open an account with all that an account can hold, and a history that speaks of the person."""
    async with till.opener() as s:
        user = await users.register(
            s, email=person.email, first_name=f"First {person.mark}", last_name=f"Last {person.mark}",
            password="secret", phone_number=person.phone, date_of_birth=person.born,
        )  # fmt: skip
        card = Card("sandbox", f"tok_{person.number}", "4242", "visa", 1, 2030)
        await payment_methods.keep(
            s, user.user_id, card, holder_name=f"Holder {person.mark}", billing_address=f"{person.mark} Street 1"
        )
        said = Subscribed(
            user_id=user.user_id, plan="gold", email=person.email, nicknames=[f"Nick {person.mark}"], spent=None
        )
        stream = Stream("Subscription", uuid7())
        await events.append(s, stream, [said], expected_version=0)
        state = Folded({"email": person.email}, 1, 1)
        await snapshots.save(s, stream, state, KEPT, subject_id=user.user_id)
    return user.user_id


async def trade(till: Till, person: Somebody, user_id: UUID) -> None:
    """Log in, look at the shop, buy, be told, pay, receive, and give some of it back."""
    async with till.platform.session(till.tenant, user_id=user_id, readonly=True) as s:
        assert await users.log_in(s, email=person.email.upper(), password="secret") == user_id
        assert (await users.find(s, user_id)).email == person.email
    await catalog.view(till.platform.cache, till.opener, till.tenant.tenant_id, till.products[0])
    order = NewOrder(lines=[(till.products[0], 2)], idempotency_key=till.new_key(), user_id=user_id)
    bought = await till.checkout.buy(
        till.platform, till.tenant, order, payment_method=CARD, token=f"tok_{person.number}",
        cause=Cause(actor=str(user_id)),
    )  # fmt: skip
    assert (await till.ended(bought.saga_id)).status == "completed"
    async with till.opener() as s:
        await fulfilment.deliver(s, bought.order.order_id)
    refund = await till.give_back(bought.order.order_id, lines=[ReturnLine(1, 1)])
    assert (await till.ended(refund)).status == "completed"
    async with till.opener() as s:
        line = returns.CreditLine(1, "A", -1, Money("10", "EUR"), till.products[0])
        await returns.credit(s, f"C{person.number}", [line], credited_at=datetime.now(UTC), user_id=user_id)


def dump(cluster: Cluster, url: str) -> str:
    """Return a whole database as SQL, with every value that row security would hide."""
    database = str(conninfo_to_dict(url)["dbname"])
    return subprocess.run(
        [cluster.binaries.program("pg_dump"), cluster.url(database, "postgres")],
        env=cluster.binaries.environment(), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


async def cached(config: Config) -> str:
    """Return all keys of the cache, and what they hold, as far as it is text or a hash."""
    async with Valkey.from_url(config.cache_url) as client:
        found = [key async for key in client.scan_iter()]
        return repr([(key, await client.dump(key)) for key in found])


async def analysed(config: Config) -> str:
    """Return all rows of the analytics database."""
    async with AsyncExitStack() as stack:
        store = Analytics(config.analytics_url)
        stack.push_async_callback(store.close)
        tables = await store.query("SELECT name FROM system.tables WHERE database = currentDatabase()")
        return repr([await store.query(f"SELECT * FROM `{table['name']}`") for table in tables])  # noqa: S608


def hidden(person: Somebody) -> list[str]:
    """Return the values as they are and as bytes that somebody has merely written otherwise."""
    raw = [value.encode() for value in person.values]
    return [
        *person.values,
        *(value.hex() for value in raw),
        *(_inside_base64(value, before) for value in raw for before in range(3)),
    ]


def _inside_base64(value: bytes, before: int) -> str:
    """Return the characters that follow from a value alone, so many bytes behind the beginning of what was encoded."""
    text = base64.b64encode(bytes(before) + value).decode()
    return text[-(-8 * before // 6) : 8 * (before + len(value)) // 6]


@pytest.mark.parametrize("placement", ["row", "schema", "database"])
async def test_after_a_shop_has_traded_no_store_shows_anything_of_a_person(
    config: Config, postgres: Cluster, placement: str
):
    people = [Somebody(number) for number in (1, 2, 3)]
    async with AsyncExitStack() as stack:
        made = "row" if placement == "database" else placement
        till = await stack.enter_async_context(opened(config, Sandbox(), placement=made))
        if placement == "database":
            await move(till.platform, till.tenant, "us_east_001", placement=placement)
            till.tenant = await till.platform.tenant("acme")
            await stack.enter_async_context(running(till.platform, till.tenant))
        assert till.tenant.placement == placement
        known = {person: await join(till, person) for person in people}
        await till.platform.claim_domain(till.tenant, f"{people[0].mark}-host.example")
        for person, user_id in known.items():
            await trade(till, person, user_id)
        async with till.opener() as s:
            await users.delete(s, known[people[1]])
        async with Pools(config.limits) as pools:
            await erasures.request(pools, config, till.tenant.tenant_id, known[people[2]])
        async with till.opener() as s:
            await erasure.erase(s, known[people[2]])
        await rotation.rotate(till.opener, (user_fields.SEALED, payment_methods.SEALED))
        await catch_up(till.platform)
        stores = {
            "control": await asyncio.to_thread(dump, postgres, config.control.owner_url),
            **{shard.name: await asyncio.to_thread(dump, postgres, shard.urls.owner_url) for shard in config.shards},
            "cache": await cached(config),
            "analytics": await analysed(config),
        }
    assert str(known[people[0]]) in stores[till.tenant.shard]
    secrets = [key.hex() for key in config.master_keys.values()]
    for name, text in stores.items():
        shown = [value for person in people for value in hidden(person) if value.lower() in text.lower()]
        assert shown == [], f"{name} shows {shown}"
        assert not any(secret in text for secret in secrets)
