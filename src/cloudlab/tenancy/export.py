"""All of a tenant as files: one CSV for each of its tables, and a manifest that says what must be in them.

It is read by the worker login in one snapshot, so a suspended tenant can be exported as well. Sealed fields stay
sealed, as bytes in hexadecimal, and keys stay where they are.

Standard: §4.2 Tenant Configuration
"""

import asyncio
import hashlib
import json
import shutil
from pathlib import Path

from psycopg import sql

from cloudlab.config import ShardConfig
from cloudlab.errors import Duplicate
from cloudlab.schema.postgres import Connection, connect
from cloudlab.tenancy.tenants import Tenant

MANIFEST = "manifest.json"


async def export(shard: ShardConfig, tenant: Tenant, folder: Path) -> dict[str, int]:
    """Write a tenant into a folder that does not exist yet; return the rows of each table that has any.

    The folder appears when it is whole: what was interrupted leaves `FOLDER.part`, which the next export replaces.

    Raises:
        Duplicate: The folder is there already.
        Unavailable: The shard cannot be reached.
    """
    part = await asyncio.to_thread(_new_folder, folder)
    tables: dict[str, dict[str, object]] = {}
    async with connect(shard.urls.worker_url) as conn, conn.transaction():
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for schema, table in await _tables(conn, tenant):
            rows, digest = await _write(conn, tenant, (schema, table), part / f"{schema}.{table}.csv")
            tables[f"{schema}.{table}"] = {"rows": rows, "sha256": digest}
    manifest = {
        "tenant_id": str(tenant.tenant_id),
        "tenant_name": tenant.tenant_name,
        "region": tenant.region,
        "settings": dict(tenant.stored_settings),
        "tables": tables,
    }
    await asyncio.to_thread(_complete, part, folder, json.dumps(manifest, indent=2) + "\n")
    return {name: int(str(entry["rows"])) for name, entry in tables.items() if entry["rows"]}


async def count(shard: ShardConfig, tenant: Tenant) -> dict[str, int]:
    """Return how many rows of each table an export would hold, those that have any."""
    found: dict[str, int] = {}
    async with connect(shard.urls.worker_url) as conn:
        for table in await _tables(conn, tenant):
            look = sql.SQL("SELECT /* export.count */ count(*) FROM {} AS t WHERE t.tenant_id = {}")
            cursor = await conn.execute(look.format(sql.Identifier(*table), sql.Literal(str(tenant.tenant_id))))
            ((rows,),) = await cursor.fetchall()
            if rows:
                found[".".join(table)] = int(rows)
    return found


def _new_folder(folder: Path) -> Path:
    if folder.exists():
        raise Duplicate(f"{folder} is there already", hint="Name a folder that does not exist.")
    part = folder.with_name(f"{folder.name}.part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True, mode=0o700)
    return part


def _complete(part: Path, folder: Path, manifest: str) -> None:
    (part / MANIFEST).write_text(manifest)
    part.rename(folder)


async def _tables(conn: Connection, tenant: Tenant) -> list[tuple[str, str]]:
    rows = await conn.execute(
        """
        SELECT /* export.tables */ n.nspname::text, c.relname::text
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname IN (%s, 'cloudlab')
          AND has_table_privilege(c.oid, 'SELECT') AND c.relname NOT IN ('subject_keys', 'tenant_keys')
          AND EXISTS (SELECT FROM pg_attribute AS a
                      WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
        ORDER BY 1, 2
        """,
        [tenant.schema_name],
    )
    return [(str(row[0]), str(row[1])) for row in await rows.fetchall()]


async def _write(conn: Connection, tenant: Tenant, table: tuple[str, str], path: Path) -> tuple[int, str]:
    statement = sql.SQL(
        "COPY (SELECT /* export.write */ t.* FROM {} AS t WHERE t.tenant_id = {}) TO STDOUT (FORMAT csv, HEADER)"
    ).format(sql.Identifier(*table), sql.Literal(str(tenant.tenant_id)))
    digest = hashlib.sha256()
    with path.open("wb") as file:
        async with conn.cursor() as cursor:
            async with cursor.copy(statement) as copy:
                async for data in copy:
                    digest.update(data)
                    file.write(data)
            return cursor.rowcount, digest.hexdigest()
