"""What a shop's worker needs beside the platform: its payment provider, and what must be looked after.

Standard: §3.3 Saga State Management
"""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from cloudlab.config import Config, state_dir
from cloudlab.errors import ConfigError
from cloudlab.platform import Platform
from cloudlab.shop import inventory, payments, reservations
from cloudlab.shop.checkout import Checkout
from cloudlab.shop.gateway import Gateway
from cloudlab.shop.sandbox import FileLedger, Sandbox
from cloudlab.tenancy.tenants import Tenant
from cloudlab.worker import Chore

log = logging.getLogger(__name__)

_AT_ONCE = 100
# Longer than a request may be on its way, with all that Stripe's library repeats.
_LOST_AFTER = timedelta(minutes=5)


@asynccontextmanager
async def gateway_of(config: Config) -> AsyncGenerator[Gateway]:
    """Open the payment provider that is configured.

    The sandbox of an embedded stack keeps its books in the state folder, for all processes; elsewhere in memory.

    Raises:
        ConfigError: Stripe is configured, but its library is not installed.
    """
    if config.payments.provider == "stripe":
        try:
            from cloudlab.shop.stripe_gateway import stripe_gateway  # noqa: PLC0415  an optional extra
        except ImportError as error:
            raise ConfigError(
                "Stripe's library is not installed", hint="Run `pip install cloudlab[stripe]`."
            ) from error
        async with stripe_gateway(config.payments.stripe_api_key) as gateway:
            log.info("payments go to Stripe")
            yield gateway
        return
    log.warning("PAYMENTS GO TO THE SANDBOX: no money moves", extra={"setting": "[payments] provider"})
    folder = state_dir()
    yield Sandbox(ledger=FileLedger(folder / "sandbox.sqlite") if folder.is_dir() else None)


def chores(config: Config, gateway: Gateway, checkout: Checkout, *, lost_after: timedelta = _LOST_AFTER) -> list[Chore]:
    """Return what a shop's workers look after: holds that have ended, payments that nobody knows the
    end of, and products that many buyers wait for at once.

    Money that turns out to have been taken for an order that cannot be had any more is given back.
    """

    async def expire(platform: Platform, tenant: Tenant) -> int:
        async with platform.session(tenant) as s:
            return len(await reservations.expire_reservations(s, limit=_AT_ONCE))

    async def resolve(platform: Platform, tenant: Tenant) -> int:
        found = await payments.resolve_unknown(
            lambda: platform.session(tenant),
            gateway,
            older_than=lost_after,
            limit=_AT_ONCE,
            and_then=checkout.give_back_what_is_due,
        )
        return len(found)

    async def spread(platform: Platform, tenant: Tenant) -> int:
        async with platform.session(tenant) as s:
            return len(await inventory.spread_contended(s))

    every = config.housekeeping.chores_every_seconds
    return [
        Chore("end unpaid holds", every, expire),
        Chore("resolve unknown payments", every, resolve),
        Chore("spread contended stock", every, spread),
    ]
