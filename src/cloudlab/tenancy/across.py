"""Asking every shard the same question, for operators: answers side by side, and never a part taken for the whole.

The question is asked once in each place of a shard: in the shared tables and in every tenant's own schema, which its
unqualified names then mean. Nothing can be changed by it.

Standard: §7.2 Tenant-Based Sharding, §7.2 Geographic Sharding
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from cloudlab.config import Config, ShardConfig
from cloudlab.errors import CloudLabError, NotFound, TimedOut, from_postgres
from cloudlab.postgres.pool import secure
from cloudlab.schema.places import SHOP_SCHEMA

_Question = tuple[str, Mapping[str, object] | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one place said: its columns and rows, or the error that kept it from answering."""

    shard: str
    schema: str
    columns: tuple[str, ...] = ()
    rows: Sequence[tuple[Any, ...]] = ()
    error: CloudLabError | None = None


async def ask(
    config: Config,
    question: str,
    *,
    shards: Sequence[str] = (),
    own_schemas: bool = True,
    seconds: float = 30.0,
    values: Mapping[str, object] | None = None,
) -> list[Answer]:
    """Run a query in every place at the same time, read-only, as the login that sees all tenants.

    Args:
        config: The installation.
        question: One SQL statement, as an operator typed it.
        shards: Only these; by default all.
        own_schemas: Also in the schemas that tenants have of their own.
        seconds: How long a place may take; then its answer is an error.
        values: What stands for `%(name)s` in the question; without it a percent sign is just one.

    Returns:
        An answer of each place, by shard and schema: whoever sums them up must look at `error` first.

    Raises:
        NotFound: There is no shard of that name.

    Cost: one connection for each shard; one round trip for each place.
    """
    known = {shard.name: shard for shard in config.shards}
    for name in shards:
        if name not in known:
            raise NotFound(f"there is no shard {name}", hint=f"There are: {', '.join(known)}.")
    chosen = [shard for name, shard in known.items() if not shards or name in shards]
    answers = await asyncio.gather(*(_ask_shard(shard, (question, values), own_schemas, seconds) for shard in chosen))
    return [answer for part in answers for answer in part]


async def _ask_shard(shard: ShardConfig, question: _Question, own_schemas: bool, seconds: float) -> list[Answer]:
    answers: list[Answer] = []
    try:
        async with asyncio.timeout(seconds):
            async with await AsyncConnection.connect(secure(shard.urls.worker_url), autocommit=True) as conn:
                for schema in await _schemas(conn) if own_schemas else [SHOP_SCHEMA]:
                    answers.append(await _ask_place(conn, shard.name, schema, question, seconds))
    except psycopg.Error as error:
        answers.append(Answer(shard.name, "", error=from_postgres(error)))
    except TimeoutError:
        answers.append(Answer(shard.name, "", error=TimedOut(f"{shard.name} did not answer within {seconds:g} s")))
    return answers


async def _schemas(conn: AsyncConnection) -> list[str]:
    rows = await conn.execute(
        """
        SELECT /* across.schemas */ DISTINCT t.schema_name FROM cloudlab.tenant_local AS t
        WHERE t.schema_name <> %s AND t.state IN ('open', 'suspended') ORDER BY t.schema_name
        """,
        [SHOP_SCHEMA],
    )
    return [SHOP_SCHEMA, *(str(row[0]) for row in await rows.fetchall())]


async def _ask_place(conn: AsyncConnection, shard: str, schema: str, question: _Question, seconds: float) -> Answer:
    path = ", ".join(sql.Identifier(name).as_string(conn) for name in (schema, "cloudlab", "pg_temp"))
    try:
        async with conn.transaction(force_rollback=True):
            await conn.execute("SET TRANSACTION READ ONLY")
            await conn.execute(
                """
                SELECT /* across.ask */ set_config('search_path', %s, true), set_config('statement_timeout', %s, true)
                """,
                [path, str(round(seconds * 1000))],
            )
            # As a prepared statement: only one, so that it cannot end the transaction that makes it harmless.
            cursor = await conn.execute(question[0].encode(), question[1], prepare=True)
            rows = await cursor.fetchall() if cursor.description else []
            columns = tuple(column.name for column in cursor.description or ())
            return Answer(shard, schema, columns, rows)
    except psycopg.Error as error:
        if conn.closed:
            raise
        return Answer(shard, schema, error=from_postgres(error))
