"""Limits of tenants within one process: who has many sessions open or reads many rows waits, nobody else does.

A tenant without limits costs a look into a dictionary.

Standard: §4.2 Tenant Configuration
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from uuid import UUID

from cloudlab.config import Limits
from cloudlab.errors import CloudLabError, TimedOut
from cloudlab.tenancy.settings import TenantSettings
from cloudlab.tenancy.tenants import Tenant

log = logging.getLogger(__name__)

_FRESH_SECONDS = 20.0
_UNLIMITED = nullcontext()


def limited(limits: Limits, settings: TenantSettings) -> Limits:
    """Return the limits of a session: the tenant's bound on a statement where it is the tighter one."""
    seconds = settings.statement_timeout_seconds
    if seconds is None or seconds >= limits.statement_timeout_seconds:
        return limits
    return replace(limits, statement_timeout_seconds=seconds)


class SettingsBook:
    """What this process knows of the settings of tenants; what is 20 s old is asked for anew beside the work.

    A directory that does not answer stops nobody: the settings that are known go on being used.
    """

    def __init__(self, ask: Callable[[UUID], Awaitable[Tenant]]) -> None:
        self._ask = ask
        self._known: dict[UUID, tuple[TenantSettings, float]] = {}
        self._asking: dict[UUID, asyncio.Task[None]] = {}

    def note(self, tenant: Tenant) -> None:
        """Remember what the directory has just said."""
        self._known[tenant.tenant_id] = tenant.settings, time.monotonic()

    def of(self, tenant: Tenant) -> TenantSettings:
        """Return the newest settings known. Cost: no round trip."""
        if tenant.tenant_id not in self._known:
            self.note(tenant)
        settings, asked_at = self._known[tenant.tenant_id]
        if time.monotonic() - asked_at > _FRESH_SECONDS and tenant.tenant_id not in self._asking:
            self._asking[tenant.tenant_id] = asyncio.create_task(self._refresh(tenant.tenant_id))
        return settings

    async def _refresh(self, tenant_id: UUID) -> None:
        try:
            self.note(await self._ask(tenant_id))
        except CloudLabError as error:
            settings, _ = self._known[tenant_id]
            self._known[tenant_id] = settings, time.monotonic()
            log.warning("the settings of a tenant could not be read again", extra={"error": repr(error)})
        finally:
            del self._asking[tenant_id]

    async def close(self) -> None:
        """Stop asking."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


@dataclass(slots=True)
class _Usage:
    """What a tenant uses now; `rows` is what it may still read, below 0 what it has had too much."""

    sessions: int = 0
    rows: float = 0.0
    counted_at: float = field(default_factory=time.monotonic)
    waiting: asyncio.Condition = field(default_factory=asyncio.Condition)


class Limiter:
    """Counts the sessions and rows of each tenant that has a limit."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._usage: dict[UUID, _Usage] = {}

    def session(self, tenant_id: UUID, settings: TenantSettings) -> AbstractAsyncContextManager[None]:
        """Wait for one's turn; the block is the session.

        Raises:
            TimedOut: It did not come within `patience_seconds`.
        """
        if settings.sessions_max is None and settings.rows_per_second is None:
            return _UNLIMITED
        return self._limited(tenant_id, settings)

    @asynccontextmanager
    async def _limited(self, tenant_id: UUID, settings: TenantSettings) -> AsyncGenerator[None]:
        usage = self._usage.setdefault(tenant_id, _Usage())
        deadline = time.monotonic() + self._patience_seconds
        await self._wait_for_rows(usage, settings, deadline)
        await self._wait_for_sessions(usage, settings, deadline)
        try:
            yield
        finally:
            usage.sessions -= 1
            async with usage.waiting:
                usage.waiting.notify()

    def count(self, tenant_id: UUID, rows: int) -> None:
        """Charge rows that a session has read or written."""
        if usage := self._usage.get(tenant_id):
            usage.rows -= rows

    async def _wait_for_rows(self, usage: _Usage, settings: TenantSettings, deadline: float) -> None:
        if (rate := settings.rows_per_second) is None:
            return
        while True:
            now = time.monotonic()
            # At most one second's worth is saved up.
            usage.rows = min(rate, usage.rows + (now - usage.counted_at) * rate)
            usage.counted_at = now
            if usage.rows >= 0:
                return
            wait = -usage.rows / rate
            if now + wait > deadline:
                raise TimedOut(f"the tenant has had its {rate:g} rows a second for {wait:.1f} s ahead")
            await asyncio.sleep(wait)

    async def _wait_for_sessions(self, usage: _Usage, settings: TenantSettings, deadline: float) -> None:
        most = settings.sessions_max
        try:
            async with usage.waiting:
                while most is not None and usage.sessions >= most:
                    async with asyncio.timeout(max(0, deadline - time.monotonic())):
                        await usage.waiting.wait()
                usage.sessions += 1
        except TimeoutError:
            raise TimedOut(f"the tenant has its {most} sessions open already") from None
