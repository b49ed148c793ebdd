"""Moves: for how long clients wait while their tenant goes to another shard, and how fast its rows get there."""

import asyncio
import gc
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from uuid import UUID, uuid4

from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.lab import Lab
from benchmarks.measure import Pace, Row, Spread, Target
from cloudlab.embedded.postgres import find_binaries
from cloudlab.events import store
from cloudlab.events.types import event
from cloudlab.platform import Platform
from cloudlab.session import Session
from cloudlab.shop import catalog, orders, readmodels, users
from cloudlab.shop.checkout import Checkout
from cloudlab.shop.payments import PaymentMethod, Sandbox
from cloudlab.tenancy.moves import MoveState
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import Money, Stream
from cloudlab.worker import Worker

NAME = "moves"
METHOD = (
    "milliseconds; 8 writers of the tenant that moves append an event each 0 to 40 ms by platform.run, every 40th time "
    "they place an order with a checkout saga instead; beside them 2 readers, and 2 writers of another tenant; worker "
    "and mover are processes of their own; write gap: the longest time without a commit of any of the eight, from the "
    "command's start to its end; floors: the same in 3 s before; rows: MB/s from the first chunk to the "
    "last at full speed, floor: psql COPY binary | psql COPY of the same table between the databases"
)
_WRITERS, _READERS, _OTHERS, _PAUSE_SECONDS, _WRITES_TO_AN_ORDER = 8, 2, 2, 0.02, 40
_BEFORE_SECONDS = 3.0
_BULK_ROWS = 200_000
_COMMAND = str(Path(sys.executable).parent / "cloudlab")


@event("BenchTicked")
class Ticked:
    """What the writers append most of the time."""

    number: int


class Clients:
    """Clients of one tenant, each writing one thing after the other."""

    def __init__(self, platform: Platform, tenant: Tenant) -> None:
        self._platform = platform
        self._tenant = tenant
        self._checkout = Checkout(Sandbox())
        self.writes: list[tuple[float, float]] = []

    async def prepare(self) -> None:
        """Open the shop."""
        async with self._platform.session(self._tenant) as s:
            user = await users.register(s, email=f"{uuid4().hex}@bench.test", first_name="Ada", last_name="L")
            self._user_id: UUID = user.user_id
            self._products = [
                await catalog.add(s, sku=f"P{n}", name="Lamp", price=Money("1", "EUR"), stock=10**9) for n in range(50)
            ]

    async def trade(self) -> None:
        """Append events until cancelled, and now and then place an order with its checkout."""
        stream = Stream("BenchTicker", uuid4())
        for number in count():
            key = uuid4().hex

            async def work(s: Session, number: int = number, key: str = key) -> None:
                if number % _WRITES_TO_AN_ORDER:
                    await store.append(s, stream, [Ticked(number=number)], expected_version=None)
                else:
                    await self._buy(s, key)

            began = time.perf_counter()
            await self._platform.run(await self._platform.tenant(self._tenant.tenant_id), work)
            self.writes.append((began, time.perf_counter() - began))
            # Not all the same, or those that waited together would go on in step, and all pause at once.
            await asyncio.sleep(random.uniform(0, 2 * _PAUSE_SECONDS))

    async def _buy(self, s: Session, key: str) -> None:
        line = orders.OrderLine(random.choice(self._products).product_id, 1)
        order = await orders.place(s, user_id=self._user_id, lines=[line], idempotency_key=key)
        await self._checkout.start(s, order.order_id, payment_method=PaymentMethod.CREDIT_CARD)

    async def look(self) -> None:
        """Read the last orders until cancelled."""
        last = "SELECT /* bench.look */ o.order_id FROM orders AS o ORDER BY o.order_id DESC LIMIT 20"
        while True:
            tenant = await self._platform.tenant(self._tenant.tenant_id)
            await self._platform.run(tenant, lambda s: s.fetch_tuples(last), readonly=True)
            await asyncio.sleep(_PAUSE_SECONDS)

    def took_ms(self, since: float, until: float) -> list[float]:
        """Return how long each write took that was begun in a time, the longest last."""
        return sorted(1000 * took for began, took in self.writes if since <= began <= until)

    def gap_ms(self, since: float, until: float) -> float:
        """Return the longest time without a commit."""
        commits = sorted(began + took for began, took in self.writes)
        moments = [since, *(each for each in commits if since <= each <= until), until]
        return 1000 * max(b - a for a, b in pairwise(moments))


async def rows(lab: Lab, pace: Pace) -> AsyncGenerator[Row]:
    """Move one tenant to and fro under load; then one with many rows."""
    moves = 2 if pace.quick else 20
    async with Platform.open(lab.config, projections=readmodels.ALL) as platform:
        # What other benchmarks have left to be read would keep a move waiting.
        await Worker(platform).run_until_caught_up()
    async with Platform.open(lab.config, projections=readmodels.ALL) as platform, _worker(lab):
        mine, other = [
            Clients(platform, await platform.create_tenant(f"bench-{name}", region=lab.tenant.region))
            for name in ("mover", "other")
        ]
        found = await _to_and_fro(lab, platform, mine, other, moves)
    gaps = [each.meanwhile.gap for each in found]
    yield _compared("write gap, middle", gaps, [each.before.gap for each in found], Target("≤", 40, "figure"))
    yield Row(NAME, "write gap, longest", "ms", Spread.of([max(gaps)]), None, None, Target("≤", 75, "figure"))
    yield Row(NAME, "of it, fenced", "ms", Spread.of([each.fenced for each in found]), None, None, None)
    yield Row(NAME, "the whole move", "s", Spread.of([each.seconds for each in found]), None, None, None)
    yield _compared(
        "longest write", [each.meanwhile.longest for each in found], [each.before.longest for each in found]
    )
    for name, place in (("others' writes, p99", 0), ("others' longest write", 1)):
        yield _compared(
            name, [each.meanwhile.others[place] for each in found], [each.before.others[place] for each in found]
        )
    yield await _throughput(lab)


def _compared(name: str, meanwhile: list[float], before: list[float], target: Target | None = None) -> Row:
    ratio = Spread.of([a / b for a, b in zip(meanwhile, before, strict=True)])
    return Row(NAME, name, "ms", Spread.of(meanwhile), Spread.of(before), ratio, target)


@dataclass(frozen=True, slots=True)
class Moved:
    """One move: what clients felt meanwhile and before, for how many ms the fence stood, and its seconds."""

    before: "Felt"
    meanwhile: "Felt"
    fenced: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Felt:
    """Milliseconds: longest time without a commit, longest write, p99 and longest write of the other tenant."""

    gap: float
    longest: float
    others: tuple[float, float]


async def _to_and_fro(lab: Lab, platform: Platform, mine: Clients, other: Clients, moves: int) -> list[Moved]:
    await mine.prepare()
    await other.prepare()
    gc.freeze()  # or collecting what never becomes garbage would stop all clients now and then
    trading = [asyncio.create_task(mine.trade()) for _ in range(_WRITERS)]
    trading += [asyncio.create_task(mine.look()) for _ in range(_READERS)]
    trading += [asyncio.create_task(other.trade()) for _ in range(_OTHERS)]
    await asyncio.sleep(2)
    try:
        found = [await _there(lab, platform, mine, other) for _ in range(moves)]
    finally:
        for task in trading:
            task.cancel()
        outcomes = await asyncio.gather(*trading, return_exceptions=True)
    failed = [each for each in outcomes if not isinstance(each, asyncio.CancelledError)]
    if failed:
        raise RuntimeError(f"a client met an error: {failed[0]!r}")
    return found


async def _there(lab: Lab, platform: Platform, mine: Clients, other: Clients) -> Moved:
    platform.forget(await platform.tenant("bench-mover"))
    tenant = await platform.tenant("bench-mover")
    to = next(shard.name for shard in lab.config.shards if shard.name != tenant.shard)
    rested = time.perf_counter()
    await asyncio.sleep(_BEFORE_SECONDS)
    began = time.perf_counter()
    await _move(lab, tenant.tenant_name, to)
    ended = time.perf_counter()
    last = (await platform.moves.list(tenant, *MoveState))[-1]

    def felt(since: float, until: float) -> Felt:
        others = other.took_ms(since, until)
        return Felt(
            mine.gap_ms(since, until), mine.took_ms(since, until)[-1], (others[len(others) * 99 // 100], others[-1])
        )

    return Moved(felt(rested, began), felt(began, ended), float(last.gap_ms or 0), ended - began)


def _environment(lab: Lab) -> dict[str, str]:
    return os.environ | {"CLOUDLAB_STATE_DIR": str(lab.folder / "stack")}


@asynccontextmanager
async def _worker(lab: Lab) -> AsyncGenerator[None]:
    worker = await asyncio.create_subprocess_exec(
        _COMMAND, "worker", env=_environment(lab), cwd=lab.folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        worker.terminate()
        await worker.wait()


async def _move(lab: Lab, name: str, to: str) -> None:
    mover = await asyncio.create_subprocess_exec(
        _COMMAND, "tenant", "move", name, "--to", to, "--leave-region", "--json", env=_environment(lab), cwd=lab.folder,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    _, said = await mover.communicate()
    if mover.returncode:
        raise RuntimeError(said.decode())


async def _throughput(lab: Lab) -> Row:
    """Copy a tenant with many products, and the same rows by psql."""
    points: dict[str, float] = {}
    async with Platform.open(lab.config) as platform:
        tenant = await platform.create_tenant("bench-bulk", region=lab.tenant.region)
        to = next(shard.name for shard in lab.config.shards if shard.name != tenant.shard)
        lab.run(
            sql.SQL(
                "INSERT INTO shop.vendors (tenant_id, vendor_name) VALUES ({tenant}, 'v');"
                "INSERT INTO shop.products (tenant_id, vendor_id, sku, name, price, currency)"
                " SELECT {tenant}, v.vendor_id, 'SKU-' || n, repeat('Reading Lamp, Teal, No. ' || n, 8), 4.95, 'EUR'"
                " FROM generate_series(1, {rows}) AS n, shop.vendors AS v WHERE v.tenant_id = {tenant}"
            ).format(tenant=sql.Literal(str(tenant.tenant_id)), rows=sql.Literal(_BULK_ROWS))
        )

        def at(point: str) -> None:
            points.setdefault(point, time.perf_counter())

        done = await platform.moves.move(tenant, to_shard=to, may_leave_region=True, gentle=False, at=at)
    copying = points["left copying"] - points["left planned"]
    floor = await _psql(lab, tenant, to)
    mib = done.size_bytes / 2**20
    figure, by_psql = mib / copying, mib / floor
    whole = points["left published"] - points["preparing: target cleared"]
    return Row(
        NAME, f"rows copied, {mib:.0f} MB", "MB/s", Spread.of([figure]), Spread.of([by_psql]),
        Spread.of([figure / by_psql]), None, f"the whole move, with comparison of all rows: {whole:.1f} s",
    )  # fmt: skip


async def _psql(lab: Lab, tenant: Tenant, to: str) -> float:
    """Return for how many seconds two psql pipe the same rows into an empty table like theirs."""
    binaries = find_binaries()
    psql, environment = binaries.program("psql"), binaries.environment()
    target = make_conninfo(shard_config(lab.config, to).urls.owner_url)
    out = f"COPY (SELECT * FROM shop.products WHERE tenant_id = '{tenant.tenant_id}') TO STDOUT (FORMAT binary)"  # noqa: S608
    into = "CREATE TABLE copied (LIKE shop.products INCLUDING ALL); COPY copied FROM STDIN (FORMAT binary)"
    began = time.perf_counter()
    reading, writing = os.pipe()
    source = await asyncio.create_subprocess_exec(psql, lab.superuser_url, "-qc", out, stdout=writing, env=environment)
    os.close(writing)
    sink = await asyncio.create_subprocess_exec(
        psql, target, "-qc", "SET search_path = cloudlab, shop", "-c", into, stdin=reading, env=environment
    )
    os.close(reading)
    if await source.wait() or await sink.wait():
        raise RuntimeError("psql could not copy")
    return time.perf_counter() - began
