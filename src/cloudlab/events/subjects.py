"""Personal data in events: sealed with a key for each person, whose destruction erases the person from history.

Keys stand in `subject_keys`, wrapped by a master key that the database never sees. A sealed value stands in an event as
`{"sealed": base64, "subject": UUID}` and is bound to its tenant, person, stream, event type and field: copied anywhere
else it cannot be opened. What an erased person's fields held reads as None.

Standard: §9.1 Encryption at Rest
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from cloudlab.crypto import Keyring, new_key, seal, unseal
from cloudlab.errors import InvariantBroken
from cloudlab.events.types import PersonalValue, is_sealed, to_new_event
from cloudlab.postgres.pool import Pools
from cloudlab.postgres.transaction import Transaction
from cloudlab.session import Session
from cloudlab.values import Event, NewEvent, Stream


@dataclass(frozen=True, slots=True)
class _SubjectKey:
    subject_id: UUID
    wrapped_key: bytes | None
    key_version: int | None


async def sealed(s: Session, stream: Stream, events: Sequence[object]) -> list[NewEvent]:
    """Turn typed events into what can be appended to this stream, their personal values sealed.

    A person without a key gets one. What is said of an erased person is None from the start.

    Raises:
        ConfigError: There is a personal value and no master key.
        Forbidden: The session acts for a user, and the value is another person's.

    Cost: none without personal values; else one round trip, and one more when a person has no key yet.
    """
    plain = [to_new_event(event) for event in events]
    values = [value for event in plain for value in event.data.values() if isinstance(value, PersonalValue)]
    if not values:
        return plain
    keys = await _keys_for(s, {UUID(value.subject_id) for value in values})
    return [_sealed(s, stream, event, keys) for event in plain]


def _sealed(s: Session, stream: Stream, event: NewEvent, keys: dict[UUID, bytes | None]) -> NewEvent:
    data = dict(event.data)
    for name, value in data.items():
        if not isinstance(value, PersonalValue):
            continue
        key = keys[UUID(value.subject_id)]
        if key is None:
            data[name] = None
            continue
        text = json.dumps(value.value, ensure_ascii=False).encode()
        place = _place(s.tenant_id, value.subject_id, stream, event.event_type, name)
        data[name] = {"sealed": base64.b64encode(seal(key, text, place)).decode(), "subject": value.subject_id}
    return NewEvent(event.event_type, data)


async def reveal(s: Session, events: Sequence[Event]) -> list[Event]:
    """Return the events with their personal fields opened; those of an erased person are None.

    In a session that acts for a user, those of everybody else are None too.

    Raises:
        InvariantBroken: A sealed value was changed or moved after it was written.
        ConfigError: The master key that wraps a key is not configured.

    Cost: one round trip for the keys of all persons, none when nothing is sealed.
    """
    wanted = {
        subject
        for event in events
        for value in event.event_data.values()
        if is_sealed(value) and (subject := _uuid(value["subject"]))
    }
    if not wanted:
        return list(events)
    keys = await _known_keys(s, wanted)
    return [_revealed(event, keys) for event in events]


def _revealed(event: Event, keys: dict[UUID, bytes | None]) -> Event:
    opened = {name: _open(event, name, value, keys) for name, value in event.event_data.items() if is_sealed(value)}
    return replace(event, event_data=event.event_data | opened) if opened else event


def _open(event: Event, name: str, value: dict[str, str], keys: dict[UUID, bytes | None]) -> object:
    subject_id = _uuid(value["subject"])
    key = keys.get(subject_id) if subject_id else None
    if key is None:
        return None
    stream = Stream(event.aggregate_type, event.aggregate_id)
    place = _place(event.tenant_id, str(subject_id), stream, event.event_type, name)
    try:
        raw = base64.b64decode(value["sealed"], validate=True)
    except ValueError:
        raise InvariantBroken(f"{event.event_type}.{name} of event {event.event_id} is not sealed properly") from None
    return json.loads(unseal(key, raw, place))


async def seal_text(s: Session, subject_id: UUID, text: str, place: tuple[str, ...]) -> dict[str, str] | None:
    """Seal what is kept of a person outside of events, bound to a place of the caller's; None for an erased person.

    Cost: one round trip, and one more when the person has no key yet.
    """
    key = (await _keys_for(s, {subject_id}))[subject_id]
    if key is None:
        return None
    whole = (str(s.tenant_id), str(subject_id), *place)
    return {"sealed": base64.b64encode(seal(key, text.encode(), whole)).decode(), "subject": str(subject_id)}


async def open_text(s: Session, kept: Mapping[str, str], place: tuple[str, ...]) -> str | None:
    """Open what `seal_text` has sealed; None when the person was erased or is none of the session's. One round trip.

    Raises:
        InvariantBroken: It was changed, or moved from another place.
    """
    subject_id = _uuid(kept["subject"])
    key = (await _known_keys(s, {subject_id})).get(subject_id) if subject_id else None
    if key is None:
        return None
    return unseal(key, base64.b64decode(kept["sealed"]), (str(s.tenant_id), str(subject_id), *place)).decode()


def _place(tenant_id: UUID, subject_id: str, stream: Stream, event_type: str, name: str) -> tuple[str, ...]:
    return ("event", str(tenant_id), subject_id, stream.aggregate_type, str(stream.aggregate_id), event_type, name)


def _uuid(text: object) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None


async def _keys_for(s: Session, subject_ids: set[UUID]) -> dict[UUID, bytes | None]:
    """Return the key of each person, None for an erased one; make those that are missing."""
    keys = await _known_keys(s, subject_ids)
    missing = sorted(subject_ids - keys.keys())
    if not missing:
        return keys
    made = [s.keyring.wrap(new_key(), _key_place(s.tenant_id, subject_id)) for subject_id in missing]
    # In sorted order, so that two sessions never wait for each other in a circle; then read what either has made.
    s.queue(
        """
        INSERT /* subjects.sealed */ INTO subject_keys (tenant_id, subject_id, wrapped_key, key_version)
        SELECT %(tenant_id)s::uuid, n.subject_id, n.wrapped_key, %(key_version)s::integer
        FROM unnest(%(subject_ids)s::uuid[], %(wrapped_keys)s::bytea[]) AS n (subject_id, wrapped_key)
        ON CONFLICT DO NOTHING
        """,
        tenant_id=s.tenant_id,
        subject_ids=missing,
        wrapped_keys=made,
        key_version=s.keyring.newest,
    )
    return keys | await _known_keys(s, set(missing))


async def _known_keys(s: Session, subject_ids: set[UUID]) -> dict[UUID, bytes | None]:
    found = await s.fetch(
        _SubjectKey,
        """
        SELECT /* subjects.reveal */ k.subject_id, k.wrapped_key, k.key_version
        FROM subject_keys AS k
        WHERE k.tenant_id = %(tenant_id)s::uuid AND k.subject_id = ANY (%(subject_ids)s::uuid[])
        """,
        tenant_id=s.tenant_id,
        subject_ids=sorted(subject_ids),
    )
    return {key.subject_id: _unwrapped(s.keyring, s.tenant_id, key) for key in found}


def _unwrapped(keyring: Keyring, tenant_id: UUID, key: _SubjectKey) -> bytes | None:
    if key.wrapped_key is None or key.key_version is None:
        return None
    return keyring.unwrap(key.key_version, key.wrapped_key, _key_place(tenant_id, key.subject_id))


def _key_place(tenant_id: UUID, subject_id: UUID) -> tuple[str, ...]:
    return ("subject key", str(tenant_id), str(subject_id))


def hold(s: Session, subject_id: UUID) -> None:
    """Keep a person from being erased until this transaction ends; sent with the next statement."""
    s.queue(
        """
        SELECT /* subjects.hold */ k.subject_id FROM subject_keys AS k
        WHERE k.tenant_id = %(tenant_id)s::uuid AND k.subject_id = %(subject_id)s::uuid
        FOR SHARE
        """,
        tenant_id=s.tenant_id,
        subject_id=subject_id,
    )


async def erase(s: Session, subject_id: UUID) -> datetime:
    """Destroy a person's key and drop the snapshots that hold their data; return when they were first erased.

    A second call changes nothing. Everything sealed for the person reads as None afterwards, and nothing can be sealed
    for them again. Backups still hold the key until they expire; the ledger of erasures destroys it after a restore.

    Cost: one round trip.
    Standard: §9.1 Encryption at Rest
    """
    # The key first: whoever keeps a snapshot holds its row, so the snapshot is there when the next statement looks.
    s.queue(
        """
        INSERT /* subjects.erase */ INTO subject_keys AS k (tenant_id, subject_id, erased_at)
        VALUES (%(tenant_id)s::uuid, %(subject_id)s::uuid, clock_timestamp())
        ON CONFLICT (tenant_id, subject_id) DO UPDATE
        SET wrapped_key = NULL, key_version = NULL, erased_at = excluded.erased_at
        WHERE k.erased_at IS NULL
        """,
        tenant_id=s.tenant_id,
        subject_id=subject_id,
    )
    s.queue(
        """
        DELETE /* subjects.erase */ FROM event_snapshots
        WHERE tenant_id = %(tenant_id)s::uuid
          AND (subject_id = %(subject_id)s::uuid OR aggregate_id = %(subject_id)s::uuid)
        """,
        tenant_id=s.tenant_id,
        subject_id=subject_id,
    )
    return await s.fetch_one(
        _erased_at,
        """
        SELECT /* subjects.erase */ k.erased_at FROM subject_keys AS k
        WHERE k.tenant_id = %(tenant_id)s::uuid AND k.subject_id = %(subject_id)s::uuid
        """,
        tenant_id=s.tenant_id,
        subject_id=subject_id,
    )


def _erased_at(erased_at: datetime) -> datetime:
    return erased_at


_FIRST = (UUID(int=0), UUID(int=0))


@dataclass(frozen=True, slots=True)
class _Wrapped:
    tenant_id: UUID
    subject_id: UUID
    wrapped_key: bytes
    key_version: int


async def rotate_master_key(
    pools: Pools,
    worker_url: str,
    keyring: Keyring,
    *,
    batch_size: int = 500,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Wrap every key of a shard with the newest master key, while it works; return how many were wrapped anew.

    Each batch is a transaction of its own, so that an interrupted rotation is finished by the next call. The older
    master keys must stay configured until this has returned 0 on every shard.

    Args:
        pools: The connections of this process.
        worker_url: The shard's worker login.
        keyring: Both the old and the new master keys.
        batch_size: Keys in a transaction.
        progress: Told the number of keys of each batch.

    Raises:
        ConfigError: An old master key is not configured; the batches before stay wrapped anew.
    """
    total = of_this_pass = 0
    last = _FIRST
    while True:
        async with pools.transaction(worker_url) as transaction:
            keys = await _rotate_batch(transaction, keyring, last, batch_size)
        total, of_this_pass = total + len(keys), of_this_pass + len(keys)
        if keys:
            last = keys[-1].tenant_id, keys[-1].subject_id
            if progress:
                progress(len(keys))
        elif of_this_pass:
            # Behind the pass a process that does not know the newest key yet may have made keys with an older one.
            last, of_this_pass = _FIRST, 0
        else:
            return total


async def _rotate_batch(
    transaction: Transaction, keyring: Keyring, after: tuple[UUID, UUID], batch_size: int
) -> list[_Wrapped]:
    found = await transaction.execute(
        """
        SELECT /* subjects.rotate_master_key */ k.tenant_id, k.subject_id, k.wrapped_key, k.key_version
        FROM cloudlab.subject_keys AS k
        WHERE k.key_version <> %(newest)s::integer
          AND (k.tenant_id, k.subject_id) > (%(tenant_id)s::uuid, %(subject_id)s::uuid)
        ORDER BY k.tenant_id, k.subject_id
        LIMIT %(limit)s::integer
        FOR UPDATE
        """,
        newest=keyring.newest,
        tenant_id=after[0],
        subject_id=after[1],
        limit=batch_size,
    )
    keys = found.rows(_Wrapped)
    if keys:
        await transaction.execute(
            """
            UPDATE /* subjects.rotate_master_key */ cloudlab.subject_keys AS k
            SET wrapped_key = n.wrapped_key, key_version = %(newest)s::integer
            FROM unnest(%(tenant_ids)s::uuid[], %(subject_ids)s::uuid[], %(wrapped_keys)s::bytea[])
                AS n (tenant_id, subject_id, wrapped_key)
            WHERE k.tenant_id = n.tenant_id AND k.subject_id = n.subject_id
            """,
            newest=keyring.newest,
            tenant_ids=[key.tenant_id for key in keys],
            subject_ids=[key.subject_id for key in keys],
            wrapped_keys=[_rewrapped(keyring, key) for key in keys],
        )
    return keys


def _rewrapped(keyring: Keyring, key: _Wrapped) -> bytes:
    place = _key_place(key.tenant_id, key.subject_id)
    return keyring.wrap(keyring.unwrap(key.key_version, key.wrapped_key, place), place)
