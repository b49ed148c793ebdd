"""An installation of CloudLab as its databases have it: where the directory places tenants, whom each shard serves.

Standard: §7.2 Tenant-Based Sharding
"""

from collections.abc import Mapping, Sequence
from typing import LiteralString

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.reading import Connection, connect
from cloudlab.standards.rule import Fleet, Local, Placed, Shard

_SCHEMA = "cloudlab"
_DIRECTORY, _SHARD = ("placements", "shards", "tenants", "moves"), ("shard_identity", "tenant_local")
# Who is held to one tenant, or to none, sees no row of the others.
_MAY: LiteralString = """
    SELECT /* fleets.may */ coalesce(bool_and(
        has_table_privilege(c.oid, 'select')
        AND (NOT row_security_active(c.oid) OR pg_has_role(c.relowner, 'member')
             OR EXISTS (SELECT FROM pg_policy AS p, pg_roles AS r
                        WHERE p.polrelid = c.oid AND r.oid = ANY (p.polroles) AND r.rolname = 'platform_worker'
                          AND pg_has_role(r.oid, 'member')))), false) AS may
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'cloudlab' AND c.relname = ANY (%s)
"""
_PLACED: LiteralString = """
    SELECT /* fleets.placed */ t.tenant_id::text AS id, t.tenant_name AS tenant, t.schema_name AS schema,
           s.shard_name AS shard,
           p.state = 'open' AND t.pending IS NULL AND t.drop_after IS NULL AND NOT EXISTS (
               SELECT FROM cloudlab.moves AS m
               WHERE m.tenant_id = t.tenant_id AND m.state NOT IN ('finished', 'aborted')) AS settled
    FROM cloudlab.tenants AS t
    LEFT JOIN cloudlab.placements AS p ON p.tenant_id = t.tenant_id
    LEFT JOIN cloudlab.shards AS s ON s.shard_id = p.shard_id
"""
_LOCAL: LiteralString = """
    SELECT /* fleets.local */ i.shard_name AS shard, l.tenant_id::text AS id, l.tenant_name AS tenant,
           l.schema_name AS schema, l.state IN ('open', 'suspended') AND l.leaving_for IS NULL AS settled
    FROM cloudlab.shard_identity AS i LEFT JOIN cloudlab.tenant_local AS l ON true
"""


async def read(catalogs: Mapping[str, Catalog]) -> Fleet | None:
    """Return what the databases say of tenants; None where no directory is among them, or none may be read.

    Args:
        catalogs: The schema of each database by its URL.

    Raises:
        Unavailable: One cannot be reached.

    Cost: two queries to each database, four to the directory; what changes meanwhile counts as unsettled.
    """
    directories = [url for url, one in catalogs.items() if _has(one, _DIRECTORY)]
    if len(directories) != 1:
        return None
    async with connect(directories[0]) as conn:
        if not await _may(conn, _DIRECTORY):
            return None
        before = await _placed(conn)
        shards = [await _shard(url, one) for url, one in catalogs.items() if _has(one, _SHARD)]
        after = await _placed(conn)
    settled = [one if before.get(one.id) == one else _unsettled(one) for one in after.values()]
    gone = [_unsettled(one) for one in before.values() if one.id not in after]
    return Fleet([*settled, *gone], [shard for shard in shards if shard])


def _has(catalog: Catalog, names: Sequence[str]) -> bool:
    return all((_SCHEMA, name) in catalog.tables for name in names)


async def _may(conn: Connection, names: Sequence[str]) -> bool:
    row = await (await conn.execute(_MAY, [list(names)])).fetchone()
    return bool(row and row["may"])


async def _placed(conn: Connection) -> dict[str, Placed]:
    rows = await (await conn.execute(_PLACED)).fetchall()
    return {row["id"]: Placed(**row) for row in rows}


def _unsettled(one: Placed) -> Placed:
    return Placed(one.id, one.tenant, one.schema, one.shard, settled=False)


async def _shard(url: str, catalog: Catalog) -> Shard | None:
    async with connect(url) as conn:
        if not await _may(conn, _SHARD):
            return None
        rows = await (await conn.execute(_LOCAL)).fetchall()
    if not rows:
        return None
    local = [Local(row["id"], row["tenant"], row["schema"], row["settled"]) for row in rows if row["id"]]
    return Shard(rows[0]["shard"], local, frozenset(catalog.schemas))
