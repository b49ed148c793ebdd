"""Loads a shop's history into a tenant through the shop's own verbs, as its customers would have caused it.

Everything is looked up before it is made and has a key that refuses a second time, so a load that was killed anywhere
is finished by the same load again. What the shop refuses is put on record and the load goes on; a server that is away
is waited for.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

import gc
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from typing import TypeVar
from uuid import UUID

from cloudlab.cli.patience import PATIENCE_SECONDS, Patient, batched, spread
from cloudlab.cli.replaying import REFUSALS, Begun, Replay, is_finished
from cloudlab.config import Config
from cloudlab.crypto import fingerprint
from cloudlab.errors import CloudLabError, Duplicate, NotFound
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.session import Session
from cloudlab.shop import catalog, returns, users, vendors
from cloudlab.shop.dataset import CreditLine, Dataset, DatasetCustomer, DatasetOrder, DatasetProduct, Rejected
from cloudlab.shop.orders import Order
from cloudlab.shop.payments import Gateway, Sandbox
from cloudlab.shop.returns import CreditNote
from cloudlab.tenancy.tenants import Tenant, shard_config
from cloudlab.values import Money

T = TypeVar("T")
Item = TypeVar("Item")

CONCURRENCY = 4
_BATCH = 50
_LOOK_UP_BATCH = 500
_ANALYZE_AFTER_ORDERS = frozenset({50, 500, 5000})


class Phase(StrEnum):
    """What is being loaded, in this order."""

    PRODUCTS = "products"
    CUSTOMERS = "customers"
    ORDERS = "orders"
    CREDIT_NOTES = "credit notes"


Progress = Callable[[Phase, int, int], None]
"""Told a phase, how many of its things were done since the last time, and how many order lines those had."""


@dataclass(slots=True)
class Loaded:
    """What became of a load.

    `orders_new` counts the orders that this load placed or brought further, `orders_there` those it found complete;
    `lines` and `amount` are those of both together. `seconds` are by phase.
    """

    currency: str
    orders_new: int = 0
    orders_there: int = 0
    orders_refused: int = 0
    lines: int = 0
    amount: Decimal = Decimal(0)
    credit_notes: int = 0
    rejects: list[Rejected] = field(default_factory=list[Rejected])
    seconds: dict[Phase, float] = field(default_factory=dict[Phase, float])

    @property
    def orders_per_second(self) -> float:
        """Return how many orders a second were brought to their end; 0 when all were there."""
        seconds = self.seconds.get(Phase.ORDERS, 0.0)
        return self.orders_new / seconds if seconds else 0.0


async def load(
    platform: Platform,
    tenant: Tenant,
    dataset: Dataset,
    *,
    concurrency: int = CONCURRENCY,
    progress: Progress | None = None,
    gateway: Gateway | None = None,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Loaded:
    """Bring all of a dataset into a tenant; what is there already stays as it is.

    Args:
        platform: Opened with the shop's inline projections and pools that hold `concurrency` connections.
        tenant: Into which shop.
        dataset: What to load; its orders are begun in time order.
        concurrency: How many groups of orders are on their way at a time.
        progress: Told what was done.
        gateway: Who takes the money; by default a sandbox.
        patience_seconds: How long an unavailable server is waited for, each time.

    Raises:
        Unavailable: A server was away for longer than that; the same load continues later.
        CloudLabError: Something went wrong that is no refusal of the shop.

    Cost: 6 round trips and two commits for 32 orders.
    """
    patient = Patient(platform, tenant.tenant_id, patience_seconds)
    loading = _Loading(platform.config, patient, dataset, gateway or Sandbox(), concurrency, progress)
    # A dataset is a million objects that all stay: without this, most of our time would go into looking at them again.
    gc.freeze()
    try:
        return await loading.run()
    finally:
        gc.unfreeze()


def email_of(customer_id: str) -> str:
    """Return the address under which an imported customer is registered; it can receive nothing."""
    plain = re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,49}", customer_id)
    # Addresses must differ in more than case, so an id with capitals or signs is replaced by its hash.
    return f"customer-{customer_id if plain else fingerprint({'customer_id': customer_id}).hex()[:24]}@import.invalid"


async def analyze(config: Config, tenant: Tenant) -> None:
    """Refresh the planner's statistics of the shop's tables that a load fills. Cost: about 0.2 s."""
    url = shard_config(config, tenant.shard).urls.owner_url
    async with Pools(config.limits) as pools, pools.transaction(url) as transaction:
        transaction.queue(
            "SELECT /* loading.analyze */ set_config('search_path', quote_ident(%(schema)s), true)",
            schema=tenant.schema_name,
        )
        await transaction.execute(
            """
            ANALYZE /* loading.analyze */ users, vendors, products, inventory, inventory_updates,
                inventory_reservations, orders, order_items, payments, payment_transactions, shipments,
                vendor_commissions, user_order_summaries, cloudlab.event_streams, cloudlab.idempotency_keys
            """
        )


class _Loading:
    """One load of one dataset."""

    def __init__(
        self,
        config: Config,
        patient: Patient,
        dataset: Dataset,
        gateway: Gateway,
        concurrency: int,
        progress: Progress | None,
    ) -> None:
        self._config = config
        self._patient = patient
        self._dataset = dataset
        self._concurrency = concurrency
        self._told = progress
        self._vendors: dict[str, UUID] = {}
        self._products: dict[str, UUID] = {}
        self._customers: dict[str, UUID] = {}
        self._replay = Replay(patient, gateway, self._products, self._customers)
        self._loaded = Loaded(dataset.currency)

    async def run(self) -> Loaded:
        """Load one phase after the other."""
        phases: dict[Phase, Callable[[], Awaitable[None]]] = {
            Phase.PRODUCTS: self._load_products,
            Phase.CUSTOMERS: self._load_customers,
            Phase.ORDERS: self._load_orders,
            Phase.CREDIT_NOTES: self._load_credit_notes,
        }
        for phase, work in phases.items():
            started = time.monotonic()
            await work()
            self._loaded.seconds[phase] = time.monotonic() - started
        return self._loaded

    def _progress(self, phase: Phase, done: int, lines: int) -> None:
        if self._told:
            self._told(phase, done, lines)

    async def _analyze(self) -> None:
        """Refresh the planner's statistics: a plan made for empty tables reads whole ones a minute later."""
        tenant = await self._patient.tenant()

        async def attempt() -> None:
            await analyze(self._config, tenant)

        await self._patient.patiently(attempt)

    async def _load_products(self) -> None:
        try:
            self._vendors = await self._patient.committed(self._join_vendors)
        except Duplicate:
            self._vendors = await self._patient.committed(self._join_vendors)  # another load was quicker with one
        await spread(batched(self._dataset.products, _BATCH), self._add_products, self._concurrency)

    async def _join_vendors(self, s: Session) -> dict[str, UUID]:
        known: dict[str, UUID] = {}
        for name in sorted({product.vendor for product in self._dataset.products}):
            try:
                known[name] = (await vendors.find_by_name(s, name)).vendor_id
            except NotFound:
                known[name] = (await vendors.join(s, vendor_name=name)).vendor_id
        return known

    async def _add_products(self, batch: Sequence[DatasetProduct]) -> None:
        async def work(s: Session, wanted: Sequence[DatasetProduct]) -> dict[str, UUID]:
            known = await catalog.find_by_skus(s, [product.sku for product in wanted])
            for each in wanted:
                if each.sku not in known:
                    known[each.sku] = await catalog.add(
                        s,
                        sku=each.sku,
                        name=each.name,
                        price=each.price,
                        stock=each.stock,
                        vendor_id=self._vendors[each.vendor],
                    )
            return {sku: product.product_id for sku, product in known.items()}

        for found in await self._each(batch, work, Phase.PRODUCTS, lambda product: product.sku):
            self._products.update(found)
        self._progress(Phase.PRODUCTS, len(batch), 0)

    async def _load_customers(self) -> None:
        await spread(batched(self._dataset.customers, _BATCH), self._register, self._concurrency)
        await self._analyze()

    async def _register(self, batch: Sequence[DatasetCustomer]) -> None:
        async def work(s: Session, wanted: Sequence[DatasetCustomer]) -> dict[str, UUID]:
            emails = {each.customer_id: email_of(each.customer_id) for each in wanted}
            known = await users.find_by_emails(s, list(emails.values()))
            for customer_id, email in emails.items():
                if email not in known:
                    known[email] = await users.register(s, email=email, first_name="Customer", last_name=customer_id)
            return {customer_id: known[email].user_id for customer_id, email in emails.items()}

        for found in await self._each(batch, work, Phase.CUSTOMERS, lambda customer: customer.customer_id):
            self._customers.update(found)
        self._progress(Phase.CUSTOMERS, len(batch), 0)

    async def _each(
        self,
        batch: Sequence[Item],
        work: Callable[[Session, Sequence[Item]], Awaitable[T]],
        phase: Phase,
        name: Callable[[Item], str],
    ) -> list[T]:
        """Do a batch in one transaction; if the shop refuses it, one by one, to find out what it refuses."""
        try:
            return [await self._patient.committed(lambda s: work(s, batch))]
        except REFUSALS as refusal:
            if len(batch) == 1:
                self._refuse(phase, name(batch[0]), refusal)
                return []
        return [done for each in batch for done in await self._each([each], work, phase, name)]

    async def _load_orders(self) -> None:
        await spread(self._replay.look_up(self._dataset.orders), self._finish, self._concurrency)

    async def _finish(self, group: Sequence[Begun]) -> None:
        before = self._loaded.orders_new
        outcomes = await self._replay.finish_all(group)
        for (wanted, order), outcome in zip(group, outcomes, strict=True):
            self._count(wanted, order, outcome)
        self._progress(Phase.ORDERS, len(group), sum(len(wanted.lines) for wanted, _ in group))
        if any(before < count <= self._loaded.orders_new for count in _ANALYZE_AFTER_ORDERS):
            await self._analyze()

    def _count(self, wanted: DatasetOrder, before: Order | None, outcome: Order | CloudLabError) -> None:
        loaded = self._loaded
        if isinstance(outcome, CloudLabError):
            loaded.orders_refused += 1
            self._refuse(Phase.ORDERS, wanted.order_number, outcome)
            return
        was_finished = before is not None and is_finished(before)
        loaded.orders_there += was_finished
        loaded.orders_new += not was_finished
        loaded.lines += outcome.line_count
        loaded.amount += outcome.total.amount

    async def _load_credit_notes(self) -> None:
        await spread(self._missing_credit_notes(), self._credit, self._concurrency)

    async def _missing_credit_notes(self) -> AsyncIterator[list[CreditNote]]:
        by_note = sorted(self._dataset.credit_lines, key=lambda line: line.credit_note)
        notes = [self._credit_note(list(lines)) for _, lines in groupby(by_note, key=lambda line: line.credit_note)]
        for batch in batched(sorted(notes, key=lambda note: note.credited_at), _LOOK_UP_BATCH):
            known = await self._on_record([note.number for note in batch])
            self._loaded.credit_notes += len(known)
            self._progress(Phase.CREDIT_NOTES, len(known), 0)
            for missing in batched((note for note in batch if note.number not in known), _BATCH):
                yield missing

    def _credit_note(self, lines: Sequence[CreditLine]) -> CreditNote:
        first, currency = lines[0], self._dataset.currency
        wanted = [
            returns.CreditLine(
                line.line_no, line.sku, line.quantity, Money(line.unit_price, currency), self._products.get(line.sku)
            )
            for line in lines
        ]
        user_id = self._customers.get(first.customer_id) if first.customer_id is not None else None
        return CreditNote(first.credit_note, wanted, first.credited_at, user_id)

    async def _on_record(self, numbers: Sequence[str]) -> set[str]:
        return await self._patient.committed(lambda s: returns.on_record(s, numbers))

    async def _credit(self, batch: Sequence[CreditNote]) -> None:
        done = await self._each(batch, returns.credit_all, Phase.CREDIT_NOTES, lambda note: note.number)
        self._loaded.credit_notes += sum(map(len, done))
        self._progress(Phase.CREDIT_NOTES, len(batch), 0)

    def _refuse(self, phase: Phase, what: str, refusal: CloudLabError) -> None:
        self._loaded.rejects.append(Rejected(phase, 0, refusal.message, what))
