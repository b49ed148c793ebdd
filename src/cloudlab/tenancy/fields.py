"""Sealed fields of rows: encrypted with a key of the tenant, found again by a blind index.

    master key ─ wraps ─ key of the tenant (numbered) ─ derives ─ one key for each column, one for each blind index
                         index key of the tenant (0)  ─ derives ─ one key for each blind index that is unique

A sealed value is a `bytea`: the number of the key (4 bytes) and what `crypto.seal` makes of the text, bound to tenant,
table, column, row and number. Copied to another row, column or tenant it cannot be opened. The keys stand in
`tenant_keys`, wrapped by a master key that the database never sees; an erased key leaves nothing but None.

A rotation adds a key with a higher number, and for a while equal values carry blind indexes of two keys. What must be
unique is therefore indexed with a key that no rotation changes: number 0, which seals nothing (decision 7).

Standard: §9.1 Encryption at Rest
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID
from weakref import WeakKeyDictionary

from cloudlab.crypto import Keyring, blind_index, derived, new_key, seal, unseal
from cloudlab.errors import Forbidden, InvariantBroken
from cloudlab.postgres.pool import Pools
from cloudlab.session import Session

INDEX_KEY: Final = 0
"""Number of the key that indexes what must be unique. It seals nothing and no rotation changes it."""

_NUMBER_BYTES = 4


@dataclass(frozen=True, slots=True)
class Field:
    """A column whose values are sealed; with an `index` column it can be found by equality.

    Attributes:
        table: Where it stands.
        column: The bytea that holds the sealed value.
        index: The bytea that holds its blind index; none when it is empty.
        is_unique: Whether equal values have the same index always, so that a unique key can be made of it.
        folds_case: Whether the index is the same whatever the case.
    """

    table: str
    column: str
    index: str = ""
    is_unique: bool = False
    folds_case: bool = False


@dataclass(frozen=True, slots=True)
class _Key:
    key_number: int
    wrapped_key: bytes | None
    key_version: int | None


class FieldKeys:
    """The keys of one tenant, as a transaction has found them. Not for longer: the next one may find a newer key."""

    def __init__(self, tenant_id: UUID, keys: Mapping[int, bytes | None]) -> None:
        self._tenant_id = tenant_id
        self._keys = dict(keys)
        self._derived: dict[tuple[str, ...], bytes] = {}

    def __repr__(self) -> str:
        return f"<FieldKeys {sorted(self._keys)} of tenant {self._tenant_id}>"

    @property
    def newest(self) -> int:
        """Number of the key that seals; 0 when there is none yet."""
        return max(self._keys, default=0)

    def check_alive(self) -> None:
        """Refuse to go on with a tenant whose keys were erased; Forbidden says so."""
        if self._keys and self._keys[self.newest] is None:
            raise Forbidden(f"the keys of tenant {self._tenant_id} were erased: nothing can be sealed for it any more")

    def seal(self, field: Field, row_id: UUID, text: str) -> bytes:
        """Seal a value for one row. Cost: about 2 µs, 7 µs the first time.

        Raises:
            Forbidden: The tenant's keys were erased.
        """
        self.check_alive()
        number = self.newest
        key = self._key("field", field, number)
        return number.to_bytes(_NUMBER_BYTES, "big") + seal(key, text.encode(), self._place(field, row_id, number))

    def open(self, field: Field, row_id: UUID, sealed: bytes | None) -> str | None:
        """Open a value of one row; None for NULL, and for what an erased key has sealed. Cost: about 2 µs.

        Raises:
            InvariantBroken: It was changed, or sealed for another row, column or tenant.
        """
        if sealed is None:
            return None
        number = int.from_bytes(sealed[:_NUMBER_BYTES], "big")
        if number not in self._keys:
            raise InvariantBroken(
                f"{field.table}.{field.column} of {row_id} names key {number}, which is not the tenant's"
            )
        if self._keys[number] is None:
            return None
        return unseal(
            self._key("field", field, number), sealed[_NUMBER_BYTES:], self._place(field, row_id, number)
        ).decode()

    def index(self, field: Field, text: str) -> bytes:
        """Return the blind index to store beside a sealed value: the number of the key and 16 bytes."""
        self.check_alive()
        return self._index(field, text, INDEX_KEY if field.is_unique else self.newest)

    def indexes(self, field: Field, text: str) -> list[bytes]:
        """Return what to look for: during a rotation a row may carry the index of an older key.

        Nothing when the keys were erased, or there are none yet.
        """
        return [
            self._index(field, text, number)
            for number, key in self._keys.items()
            if key is not None and (number == INDEX_KEY) == field.is_unique
        ]

    def _index(self, field: Field, text: str, number: int) -> bytes:
        indexed = text.lower() if field.folds_case else text
        return number.to_bytes(_NUMBER_BYTES, "big") + blind_index(self._key("index", field, number), indexed)

    def _key(self, purpose: str, field: Field, number: int) -> bytes:
        info = (purpose, field.table, field.column, str(number))
        if info not in self._derived:
            self._derived[info] = derived(self._keys[number] or b"", info)
        return self._derived[info]

    def _place(self, field: Field, row_id: UUID, number: int) -> tuple[str, ...]:
        return ("field", str(self._tenant_id), field.table, field.column, str(row_id), str(number))


# Every session of a tenant holds off a rotation until it ends: the keys that it has read once stay the right ones.
_read: WeakKeyDictionary[Session, FieldKeys] = WeakKeyDictionary()


async def keys(s: Session, *, to_seal: bool = True) -> FieldKeys:
    """Return the keys of the session's tenant; `to_seal` makes the first ones when there are none.

    Raises:
        ConfigError: There is no master key, or not the one that wraps a key of this tenant.

    Cost: one round trip in a session, however often it is called; two more, once for each tenant, to make the first.
    """
    if found := _read.get(s):
        return found
    known = await _known(s)
    if to_seal and not known:
        await add_keys(s, INDEX_KEY, 1, is_settled=True)
        known = await _known(s)
    found = FieldKeys(s.tenant_id, known)
    if known:
        _read[s] = found
    return found


async def _known(s: Session) -> dict[int, bytes | None]:
    found = await s.fetch(
        _Key,
        """
        SELECT /* fields.keys */ k.key_number, k.wrapped_key, k.key_version
        FROM tenant_keys AS k
        WHERE k.tenant_id = %(tenant_id)s::uuid
        """,
        tenant_id=s.tenant_id,
    )
    return {key.key_number: _unwrapped(s.keyring, s.tenant_id, key) for key in found}


def _unwrapped(keyring: Keyring, tenant_id: UUID, key: _Key) -> bytes | None:
    if key.wrapped_key is None or key.key_version is None:
        return None
    return keyring.unwrap(key.key_version, key.wrapped_key, key_place(tenant_id, key.key_number))


def key_place(tenant_id: UUID, number: int) -> tuple[str, ...]:
    """Return what a wrapped key of a tenant is bound to."""
    return ("tenant key", str(tenant_id), str(number))


async def add_keys(s: Session, *numbers: int, is_settled: bool) -> int:
    """Make keys of these numbers unless somebody else just has; return how many were made."""
    _read.pop(s, None)
    return await s.execute(
        """
        INSERT /* fields.add_keys */ INTO tenant_keys (tenant_id, key_number, wrapped_key, key_version, settled_at)
        SELECT %(tenant_id)s::uuid, n.key_number, n.wrapped_key, %(key_version)s::integer,
               CASE WHEN %(is_settled)s::boolean THEN now() END
        FROM unnest(%(numbers)s::integer[], %(wrapped_keys)s::bytea[]) AS n (key_number, wrapped_key)
        ON CONFLICT DO NOTHING
        """,
        tenant_id=s.tenant_id,
        numbers=list(numbers),
        wrapped_keys=[s.keyring.wrap(new_key(), key_place(s.tenant_id, number)) for number in numbers],
        key_version=s.keyring.newest,
        is_settled=is_settled,
    )


async def replace_index_key(s: Session) -> None:
    """Put another index key in the place of the old one; the caller makes every unique index anew with it."""
    _read.pop(s, None)
    await s.execute(
        """
        UPDATE /* fields.replace_index_key */ tenant_keys
        SET wrapped_key = %(wrapped_key)s::bytea, key_version = %(key_version)s::integer
        WHERE tenant_id = %(tenant_id)s::uuid AND key_number = %(number)s::integer
        """,
        tenant_id=s.tenant_id,
        number=INDEX_KEY,
        wrapped_key=s.keyring.wrap(new_key(), key_place(s.tenant_id, INDEX_KEY)),
        key_version=s.keyring.newest,
    )


async def erase(s: Session) -> int:
    """Destroy every key of the tenant: what they sealed reads as None ever after; return how many there were.

    Backups hold the keys until they expire. Cost: one round trip.
    """
    _read.pop(s, None)
    return await s.execute(
        """
        UPDATE /* fields.erase */ tenant_keys
        SET wrapped_key = NULL, key_version = NULL, erased_at = now()
        WHERE tenant_id = %(tenant_id)s::uuid AND erased_at IS NULL
        """,
        tenant_id=s.tenant_id,
    )


@dataclass(frozen=True, slots=True)
class _Owned:
    tenant_id: UUID
    key_number: int
    wrapped_key: bytes
    key_version: int


async def rewrap(pools: Pools, worker_url: str, keyring: Keyring, *, batch_size: int = 500) -> int:
    """Wrap every tenant's keys of a shard with the newest master key, while it works; return how many were.

    Raises:
        ConfigError: An old master key is not configured; the batches before stay wrapped anew.
    """
    total = 0
    while True:
        async with pools.transaction(worker_url) as transaction:
            found = await transaction.execute(
                """
                SELECT /* fields.rewrap */ k.tenant_id, k.key_number, k.wrapped_key, k.key_version
                FROM cloudlab.tenant_keys AS k
                WHERE k.key_version <> %(newest)s::integer
                ORDER BY k.tenant_id, k.key_number
                LIMIT %(limit)s::integer
                FOR UPDATE
                """,
                newest=keyring.newest,
                limit=batch_size,
            )
            if not (owned := found.rows(_Owned)):
                return total
            await transaction.execute(
                """
                UPDATE /* fields.rewrap */ cloudlab.tenant_keys AS k
                SET wrapped_key = n.wrapped_key, key_version = %(newest)s::integer
                FROM unnest(%(tenant_ids)s::uuid[], %(numbers)s::integer[], %(wrapped_keys)s::bytea[])
                    AS n (tenant_id, key_number, wrapped_key)
                WHERE k.tenant_id = n.tenant_id AND k.key_number = n.key_number
                """,
                newest=keyring.newest,
                tenant_ids=[key.tenant_id for key in owned],
                numbers=[key.key_number for key in owned],
                wrapped_keys=_rewrapped(keyring, owned),
            )
        total += len(owned)


def _rewrapped(keyring: Keyring, owned: Sequence[_Owned]) -> list[bytes]:
    def anew(key: _Owned) -> bytes:
        place = key_place(key.tenant_id, key.key_number)
        return keyring.wrap(keyring.unwrap(key.key_version, key.wrapped_key, place), place)

    return [anew(key) for key in owned]
