"""Global look-ups: which tenant has this e-mail domain, this order number.

The control database stands in one region and tenants in several, so it holds digests under a key of the installation
(HMAC-SHA-256, 16 bytes), and nothing that can be read. A domain is claimed; order numbers are entered by a projection
(`shop.lookups`), for installations that want them found at once. Without it every shard is asked.

After a rotation of the master keys a look-up works as long as the old key is configured; claim and rebuild before it
is taken away.

Standard: §4.2 Tenant Configuration, §7.2 Tenant-Based Sharding, §9.1 Encryption at Rest
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final
from uuid import UUID

from cloudlab.config import Config
from cloudlab.crypto import Keyring
from cloudlab.errors import Duplicate, InvalidInput
from cloudlab.postgres.pool import Pools
from cloudlab.tenancy import across

_DOMAIN: Final = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])")
_WHOSE: Final = """
    SELECT /* lookups.ask_shards */ o.tenant_id
    FROM orders AS o JOIN cloudlab.tenant_local AS t ON t.tenant_id = o.tenant_id
    WHERE o.order_number = %(order_number)s AND t.state IN ('open', 'suspended')
    """


def domain_of(text: str) -> str:
    """Return the domain of an e-mail address, or the domain itself, in lower case and ASCII.

    Raises:
        InvalidInput: It is none.
    """
    name = text.rpartition("@")[2].strip().rstrip(".")
    try:
        name = name.encode("idna").decode().lower()
    except UnicodeError:
        name = ""
    if not _DOMAIN.fullmatch(name):
        raise InvalidInput(f"{text!r} is not an e-mail domain", hint="Write it like example.com.")
    return name


def digests_of(keyring: Keyring, kind: str, text: str) -> dict[int, bytes]:
    """Return what a text is kept as, by version of the master key; ConfigError for a domain when there is none."""
    if kind == "domain":
        _ = keyring.newest  # without a master key there is nothing to digest with, and the error says so
    return keyring.digests(text, ("lookup", kind))


async def claim_domain(pools: Pools, config: Config, keyring: Keyring, tenant_id: UUID, domain: str) -> None:
    """Note that a domain belongs to a tenant. It may be repeated. Cost: two round trips to the control database.

    Whether it really does is for the caller to prove, by a mail or a record of its DNS.

    Raises:
        Duplicate: It belongs to another tenant.
        InvalidInput: It is no domain.
    """
    digests = digests_of(keyring, "domain", domain_of(domain))
    async with pools.transaction(config.control.owner_url) as control:
        await control.execute(
            "SELECT /* lookups.claim */ pg_advisory_xact_lock(20547, hashtext(%(domain)s))", domain=domain_of(domain)
        )
        found = await control.execute(
            """
            SELECT /* lookups.claim */ l.tenant_id FROM cloudlab.tenant_lookups AS l
            WHERE l.kind = 'domain' AND l.lookup_digest = ANY (%(digests)s::bytea[])
            """,
            digests=as_hex(digests.values()),
        )
        if any(row[0] != tenant_id for row in found.tuples()):
            raise Duplicate(f"the domain {domain_of(domain)} belongs to another tenant")
        await control.execute(
            """
            INSERT /* lookups.claim */ INTO cloudlab.tenant_lookups (kind, lookup_digest, tenant_id)
            VALUES ('domain', %(digest)s::bytea, %(tenant_id)s::uuid) ON CONFLICT DO NOTHING
            """,
            digest=as_hex([digests[keyring.newest]])[0],
            tenant_id=tenant_id,
        )


async def release_domain(pools: Pools, config: Config, keyring: Keyring, tenant_id: UUID, domain: str) -> bool:
    """Give a domain up; False when the tenant did not have it."""
    async with pools.transaction(config.control.owner_url) as control:
        gone = await control.execute(
            """
            DELETE /* lookups.release */ FROM cloudlab.tenant_lookups
            WHERE kind = 'domain' AND lookup_digest = ANY (%(digests)s::bytea[]) AND tenant_id = %(tenant_id)s::uuid
            """,
            digests=as_hex(digests_of(keyring, "domain", domain_of(domain)).values()),
            tenant_id=tenant_id,
        )
        return gone.row_count > 0


async def find(
    pools: Pools, config: Config, keyring: Keyring, *, domain: str | None = None, order_number: str | None = None
) -> Sequence[UUID]:
    """Return whose a domain or an order number is; an order number may be several tenants', a domain is one's.

    Raises:
        InvalidInput: Not exactly one of them is given, or it is no domain.
        Unavailable: The control database is away, or, for a number that does not stand there, a shard.

    Cost: one round trip to the control database; for a number that does not stand there, one to every place.
    """
    if (domain is None) == (order_number is None):
        raise InvalidInput("look for a domain or for an order number", hint="Give one of the two.")
    kind, text = ("domain", domain_of(domain)) if domain else ("order", str(order_number))
    async with pools.transaction(config.control.owner_url) as control:
        found = await control.execute(
            """
            SELECT /* lookups.find */ DISTINCT l.tenant_id FROM cloudlab.tenant_lookups AS l
            WHERE l.kind = %(kind)s AND l.lookup_digest = ANY (%(digests)s::bytea[]) ORDER BY l.tenant_id
            """,
            kind=kind,
            digests=as_hex(digests_of(keyring, kind, text).values()),
        )
        known = [row[0] for row in found.tuples()]
    return known or (await _ask_shards(config, text) if kind == "order" else [])


async def _ask_shards(config: Config, order_number: str) -> list[UUID]:
    answers = await across.ask(config, _WHOSE, values={"order_number": order_number})
    for answer in answers:
        if answer.error:
            raise answer.error
    return sorted({UUID(str(row[0])) for answer in answers for row in answer.rows})


def as_hex(digests: Iterable[bytes]) -> list[str]:
    """Return digests as PostgreSQL reads them in an array."""
    return [f"\\x{digest.hex()}" for digest in digests]
