"""Commands that may be repeated: the key, the request and the answer are kept in the transaction of the effect.

Placing an order keeps its key by itself, inside its one call of the server, in the same table and in the same way.

Standard: §3.1 Strong Consistency (CP from CAP)
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from cloudlab.crypto import fingerprint
from cloudlab.errors import KeyReused
from cloudlab.session import Session

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How the answer to a command is kept as JSON, and made of it again."""

    save: Callable[[T], Mapping[str, Any]]
    load: Callable[[Mapping[str, Any]], T]


@dataclass(frozen=True, slots=True)
class _Kept:
    request_fingerprint: bytes
    answer: dict[str, Any] | None


async def once(
    s: Session,
    key: str | None,
    command: str,
    request: Mapping[str, object],
    work: Callable[[], Awaitable[T]],
    form: Form[T],
    *,
    resource_id: UUID,
) -> T:
    """Carry a command out, or give its first answer again.

    A twin that is under way is waited for. When `work` raises, nothing is kept: the command may be repeated.

    Args:
        s: The session whose transaction the command becomes part of.
        key: The caller's; None carries the command out and keeps nothing.
        command: Its name, so that two commands never share a key.
        request: All that makes it this request and no other.
        work: The command itself.
        form: How its answer is kept.
        resource_id: What the command is about.

    Raises:
        KeyReused: The key was used for a different request.

    Cost: one round trip beside those of `work`; two in all for a repeated key.
    """
    if key is None:
        return await work()
    wanted = fingerprint({"command": command, **request})
    if await _is_new(s, key, wanted, resource_id):
        answer = await work()
        s.queue(
            """
            UPDATE /* idempotency.once */ idempotency_keys
            SET answer = %(answer)s::jsonb
            WHERE tenant_id = %(tenant_id)s::uuid AND idempotency_key = %(key)s
            """,
            tenant_id=s.tenant_id,
            key=key,
            answer=json.dumps(form.save(answer)),
        )
        return answer
    kept = await s.fetch_one(
        _Kept,
        """
        SELECT /* idempotency.kept */ request_fingerprint, answer
        FROM idempotency_keys
        WHERE tenant_id = %(tenant_id)s::uuid AND idempotency_key = %(key)s
        """,
        tenant_id=s.tenant_id,
        key=key,
    )
    if kept.request_fingerprint != wanted or kept.answer is None:
        raise KeyReused(f"the idempotency key {key} was used for a different request than this {command}")
    return form.load(kept.answer)


async def _is_new(s: Session, key: str, wanted: bytes, resource_id: UUID) -> bool:
    entered = await s.execute(
        """
        INSERT /* idempotency.begun */ INTO idempotency_keys
            (tenant_id, idempotency_key, request_fingerprint, resource_id)
        VALUES (%(tenant_id)s::uuid, %(key)s, %(fingerprint)s::bytea, %(resource_id)s::uuid)
        ON CONFLICT ON CONSTRAINT pk_idempotency_keys DO NOTHING
        """,
        tenant_id=s.tenant_id,
        key=key,
        fingerprint="\\x" + wanted.hex(),
        resource_id=resource_id,
    )
    return entered == 1
