"""One tree of migrations over many schemas of one database: a thousand tenants in about a second.

How far each schema is, is asked in one query. Then a few connections share the work: all that one schema lacks goes to
the server in one string, each migration in a transaction of its own with its record. A schema where that fails, for a
lock or a mistake, is taken up again statement by statement, patiently, so that an error names file and line. The first
schema goes alone; only when it has succeeded do the others follow.

Standard: §6.1 Versioned Migrations, §4.1 Tenant-Specific Schemas
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain

import psycopg
from psycopg import sql

from cloudlab.errors import CloudLabError
from cloudlab.schema import history, runner
from cloudlab.schema.files import Migration
from cloudlab.schema.history import Entry
from cloudlab.schema.locks import Connection, Waits, one_runner
from cloudlab.schema.postgres import PostgresStore, Reasons, connect
from cloudlab.schema.runner import Applied, Direction

CONNECTIONS = 4
_FIRST_LOCK_MS = 20
_CANARIES = 3
_MANY = 200
# Stands for the schema in a script that is the same for all.
_SOME_SCHEMA = "cloudlab some schema d1f0"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one schema: what was applied, and the error that stopped it, None when it is up to date."""

    schema: str
    applied: list[Applied] = field(default_factory=list[Applied])
    error: CloudLabError | None = None


Told = Callable[[Outcome], None]


async def up(
    url: str,
    files: Sequence[Migration],
    schemas: Sequence[str],
    *,
    to: int | None = None,
    dry_run: bool = False,
    keep_going: bool = False,
    connections: int = CONNECTIONS,
    told: Told | None = None,
    waits: Waits | None = None,
    reasons: Reasons | None = None,
) -> list[Outcome]:
    """Bring every schema up to date; running it again does only what is left.

    Args:
        url: The owner login of the database.
        files: The tree.
        schemas: Where; each is created when it is missing. The first one is the canary.
        to: The last version wanted; by default all.
        dry_run: Change nothing, only return what would run.
        keep_going: Go on with other schemas after one has failed; when the first three fail, all stop nevertheless.
        connections: How many schemas are migrated at once.
        told: Called after each schema that had something to do.
        waits: How long to wait for other runners and for locks.
        reasons: For files that are dangerous: why they run nevertheless; noted with each.

    Returns:
        An outcome for each schema, in their order. One that was not reached after a failure has nothing applied.

    Raises:
        TimedOut: Another runner works on this database.

    Cost: two round trips for all schemas, and one for each that lacks something.
    """
    waits = waits or Waits()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(connect(url))
        if dry_run:
            found = await _standings_by_two(first, url, schemas)
            return [_planned(schema, files, standing, to) for schema, standing in found.items()]
        await stack.enter_async_context(one_runner(first, waits.runner_seconds))
        work = _Work(files, to, keep_going, told, waits, await _standings_by_two(first, url, schemas), reasons or {})
        await work.run(stack, url, connections)
        return [work.outcomes.get(schema, Outcome(schema)) for schema in schemas]


async def _standings_by_two(first: Connection, url: str, schemas: Sequence[str]) -> dict[str, str]:
    """Return the standings, asked by two connections where there are many: a server first has to look up each table."""
    if len(schemas) < _MANY:
        return await standings(first, schemas)
    half = len(schemas) // 2

    async def others() -> dict[str, str]:
        async with connect(url) as second:
            return await standings(second, schemas[half:])

    one, other = await asyncio.gather(standings(first, schemas[:half]), others())
    return one | other


async def standings(conn: Connection, schemas: Sequence[str]) -> dict[str, str]:
    """Return how far each schema is, in their order, as one text that is the same where they stand the same.

    Cost: two round trips; about 50 µs a schema. A function does it: a query over a thousand tables takes longer to plan
    than to run.
    """
    await conn.execute(_STANDINGS)
    rows = await conn.execute(
        "SELECT /* fanout.standings */ s.schema_name, s.standing FROM pg_temp.standings(%s) AS s", [list(schemas)]
    )
    found = {str(schema): str(standing) for schema, standing in await rows.fetchall()}
    return {schema: found.get(schema, "") for schema in schemas}


_STANDINGS = """
CREATE OR REPLACE FUNCTION pg_temp.standings(p_schemas text[]) RETURNS TABLE (schema_name text, standing text)
    LANGUAGE plpgsql AS $$
BEGIN
    FOR schema_name IN
        SELECT n.nspname FROM pg_namespace n
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'schema_migrations'
        WHERE n.nspname = ANY (p_schemas)
    LOOP
        EXECUTE format(
            $q$SELECT coalesce(string_agg(
                   concat_ws(' ', version, checksum, direction, running_statement), ',' ORDER BY version), '')
               FROM %I.schema_migrations$q$, schema_name) INTO standing;
        RETURN NEXT;
    END LOOP;
END
$$
"""


def _entries(standing: str) -> list[Entry]:
    """Read a standing; when something was applied is not in it."""
    entries: list[Entry] = []
    for text in standing.split(",") if standing else ():
        version, checksum, direction, *running = text.split(" ")
        entries.append(Entry(version, _LONG_AGO, checksum, "", direction, int(running[0]) if running else None))
    return entries


def applied(standing: str) -> set[str]:
    """Return the versions of a standing that are applied whole or in part."""
    return {entry.version for entry in _entries(standing)}


def _planned(schema: str, files: Sequence[Migration], standing: str, to: int | None) -> Outcome:
    statuses = history.compare(files, _entries(standing))
    try:
        history.refuse(statuses, states=runner.STOPPING, where=schema)
    except CloudLabError as error:
        return Outcome(schema, error=error)
    plan = history.plan_up(files, statuses, to)
    return Outcome(schema, [Applied(one.version, one.title, Direction.UP, one.up.sql) for one in plan])


class _Work:
    """What is to be done, shared among the connections."""

    def __init__(
        self,
        files: Sequence[Migration],
        to: int | None,
        keep_going: bool,
        told: Told | None,
        waits: Waits,
        found: dict[str, str],
        reasons: Reasons,
    ) -> None:
        self._files, self._to, self._keep_going, self._told, self._waits = files, to, keep_going, told, waits
        self._found, self._reasons = found, reasons
        self.outcomes: dict[str, Outcome] = {}
        self._scripts: dict[tuple[bool, tuple[str, ...]], bytes] = {}
        self._stopped = False

    async def run(self, stack: AsyncExitStack, url: str, connections: int) -> None:
        pending = self._pending()
        first = next(pending, None)
        if first is None:
            return
        canary = await stack.enter_async_context(connect(url))
        pending = chain([first], pending)
        if not await self._sing(canary, pending):
            return
        more = range(min(connections, len(self._found)) - 1)
        opening = (stack.enter_async_context(connect(url)) for _ in more)
        others = [canary]
        for opened in await asyncio.gather(*opening, return_exceptions=True):
            if isinstance(opened, BaseException):
                raise opened
            others.append(opened)
        async with asyncio.TaskGroup() as tasks:
            for conn in others:
                tasks.create_task(self._share(conn, pending))

    async def _sing(self, canary: Connection, pending: Iterator[tuple[str, list[Migration]]]) -> bool:
        """Migrate one schema alone, another when it fails and that is borne; say whether the others may follow."""
        for _, (schema, plan) in zip(range(_CANARIES), pending, strict=False):
            await self._one(canary, schema, plan)
            if not self.outcomes[schema].error:
                return True
            if self._stopped:
                return False
        return False

    def _pending(self) -> Iterator[tuple[str, list[Migration]]]:
        """Yield each schema that lacks something, with what it lacks; an empty list where the histories disagree."""
        plans: dict[str, list[Migration]] = {}
        for schema, standing in self._found.items():
            # Most schemas stand where their neighbours stand: what they lack is worked out once.
            if standing not in plans:
                planned = _planned(schema, self._files, standing, self._to)
                if planned.error:
                    self.outcomes[schema] = planned
                    self._stopped |= not self._keep_going
                    continue
                versions = {one.version for one in planned.applied}
                plans[standing] = [file for file in self._files if file.version in versions]
            if plans[standing]:
                yield schema, plans[standing]

    async def _share(self, conn: Connection, pending: Iterator[tuple[str, list[Migration]]]) -> None:
        while not self._stopped and (one := next(pending, None)):
            await self._one(conn, *one)

    async def _one(self, conn: Connection, schema: str, plan: Sequence[Migration]) -> None:
        outcome = await self._at_once(conn, schema, plan) or await self._patiently(conn, schema)
        self.outcomes[schema] = outcome
        if outcome.error and not self._keep_going:
            self._stopped = True
        if self._told:
            self._told(outcome)

    async def _at_once(self, conn: Connection, schema: str, plan: Sequence[Migration]) -> Outcome | None:
        """Apply all of the plan in one round trip; None where it must be done patiently."""
        if not all(migration.up.transaction for migration in plan):
            return None
        script = self._script(conn, schema, plan)
        began = time.perf_counter()
        try:
            await conn.execute(script)
        except psycopg.Error:
            if conn.closed:
                raise
            # Whatever it was, the patient way meets it again, and says where.
            await conn.execute("ROLLBACK")
            return None
        seconds = (time.perf_counter() - began) / len(plan)
        return Outcome(schema, [Applied(one.version, one.title, Direction.UP, one.up.sql, seconds) for one in plan])

    def _script(self, conn: Connection, schema: str, plan: Sequence[Migration]) -> bytes:
        """Write what brings a schema up to date; it is made once for all that lack the same."""
        tracked = bool(self._found[schema])
        key = tracked, tuple(migration.version for migration in plan)
        if key not in self._scripts:
            store = PostgresStore(conn, _SOME_SCHEMA, self._waits, reasons=self._reasons)
            self._scripts[key] = store.script(plan, tracked=tracked, lock_timeout_ms=_FIRST_LOCK_MS)
        some, this = (sql.Identifier(name).as_bytes(conn) for name in (_SOME_SCHEMA, schema))
        return self._scripts[key].replace(some, this)

    async def _patiently(self, conn: Connection, schema: str) -> Outcome:
        applied: list[Applied] = []
        store = PostgresStore(conn, schema, self._waits, exclusive=False, reasons=self._reasons)
        try:
            await runner.up(store, self._files, to=self._to, progress=applied.append)
        except CloudLabError as error:
            return Outcome(schema, applied, error)
        return Outcome(schema, applied)
