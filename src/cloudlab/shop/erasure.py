"""Erasing a person: the account is blanked, the key of what events say of them destroyed, their snapshots dropped.

Orders, payments and the ledger stay: the law wants them, and they name the account by an id that leads nowhere now.

Standard: §8.2 Soft Deletion, §9.1 Encryption at Rest
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cloudlab.events import store as events
from cloudlab.events import subjects
from cloudlab.events.erasures import Erasure
from cloudlab.events.types import event
from cloudlab.session import Session
from cloudlab.values import Stream


@event("UserErased")
class UserErased:
    """Nothing is known of this person any more; whoever keeps a copy must drop it."""

    user_id: UUID


@dataclass(frozen=True, slots=True)
class Holdings:
    """What is held of a person that an erasure removes; `erased_at` when there was one."""

    accounts: int
    profiles: int
    payment_methods: int
    snapshots: int
    keys: int
    erased_at: datetime | None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to erase."""
        return not (self.accounts or self.profiles or self.payment_methods or self.snapshots or self.keys)


async def holdings(s: Session, user_id: UUID) -> Holdings:
    """Count what an erasure would remove. Cost: one round trip."""
    return await s.fetch_one(
        Holdings,
        """
        SELECT /* erasure.holdings */
            (SELECT count(*) FROM users AS u
             WHERE u.tenant_id = %(tenant_id)s::uuid AND u.user_id = %(user_id)s::uuid
               AND u.email IS NOT NULL) AS accounts,
            (SELECT count(*) FROM user_profiles AS p
             WHERE p.tenant_id = %(tenant_id)s::uuid AND p.user_id = %(user_id)s::uuid) AS profiles,
            (SELECT count(*) FROM user_payment_methods AS m
             WHERE m.tenant_id = %(tenant_id)s::uuid AND m.user_id = %(user_id)s::uuid) AS payment_methods,
            (SELECT count(*) FROM event_snapshots AS n
             WHERE n.tenant_id = %(tenant_id)s::uuid
               AND (n.subject_id = %(user_id)s::uuid OR n.aggregate_id = %(user_id)s::uuid)) AS snapshots,
            (SELECT count(k.wrapped_key) FROM subject_keys AS k
             WHERE k.tenant_id = %(tenant_id)s::uuid AND k.subject_id = %(user_id)s::uuid) AS keys,
            (SELECT k.erased_at FROM subject_keys AS k
             WHERE k.tenant_id = %(tenant_id)s::uuid AND k.subject_id = %(user_id)s::uuid) AS erased_at
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
    )


async def erase(s: Session, user_id: UUID) -> Holdings:
    """Erase a person from this tenant and return what was there before; a second call finds nothing to do.

    The caller writes the ledger first (`events.erasures.request`), so that a restore cannot bring the person back.
    `UserErased` is appended when anything was erased: read models that keep copies follow it.

    Cost: four round trips.
    """
    before = await holdings(s, user_id)
    s.queue(
        """
        DELETE /* erasure.erase */ FROM user_payment_methods
        WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
    )
    s.queue(
        """
        DELETE /* erasure.erase */ FROM user_profiles
        WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
    )
    blanked = await _blank(s, user_id)
    await subjects.erase(s, user_id)
    if blanked or not before.is_empty:
        await events.append(s, Stream("User", user_id), [UserErased(user_id=user_id)], expected_version=None)
    return before


async def _blank(s: Session, user_id: UUID) -> int:
    return await s.execute(
        """
        UPDATE /* erasure.erase */ users
        SET email = NULL, email_index = NULL, password_hash = '!', first_name = NULL, last_name = NULL,
            phone_number = NULL, phone_number_index = NULL, date_of_birth = NULL,
            is_active = false, email_verified = false, deleted_at = coalesce(deleted_at, now()),
            user_version = user_version + 1
        WHERE tenant_id = %(tenant_id)s::uuid AND user_id = %(user_id)s::uuid AND email IS NOT NULL
        """,
        tenant_id=s.tenant_id,
        user_id=user_id,
    )


async def replay_erasures(
    open_session: Callable[[UUID], AbstractAsyncContextManager[Session]], ledger: Sequence[Erasure]
) -> int:
    """Apply the ledger again, after a restore has brought back what was erased; return how many persons it found.

    Args:
        open_session: Opens a session of a tenant by its id.
        ledger: What `events.erasures.requested` returned. An entry that was applied already costs one look.
    """
    found = 0
    for erasure in ledger:
        async with open_session(erasure.tenant_id) as s:
            held = await holdings(s, erasure.subject_id)
            if held.is_empty and held.erased_at:
                continue
            await erase(s, erasure.subject_id)
            found += not held.is_empty
    return found
