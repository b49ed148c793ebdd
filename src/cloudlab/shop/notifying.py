"""Telling customers what became of their orders. How they are told is not the shop's affair.

Standard: §3.1 Eventual Consistency (AP from CAP)
"""

import logging
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """What a customer is told: `what` is `shipped` or `refunded`."""

    tenant_id: UUID
    order_id: UUID
    user_id: UUID | None
    what: str


class Notifier(Protocol):
    """Sends notices, by mail or otherwise. The same key is the same notice: it is sent once."""

    async def notify(self, notice: Notice, *, idempotency_key: str) -> None:
        """Send a notice; a `retryable` error when it may go through later."""
        ...


class LogNotifier:
    """Writes notices to the log, for installations without a way to customers."""

    async def notify(self, notice: Notice, *, idempotency_key: str) -> None:
        """Write a notice to the log."""
        about = {"tenant_id": str(notice.tenant_id), "order_id": str(notice.order_id), "key": idempotency_key}
        log.info("customer notified", extra=about | {"what": notice.what})
