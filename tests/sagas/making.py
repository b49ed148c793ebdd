"""A small world for sagas to act in: a table of the tenant for local steps, and a ledger outside of the shard."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from cloudlab import sagas
from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.sagas import Backoff, Call, Running, Saga, Step
from cloudlab.session import Session
from cloudlab.tenancy.tenants import Tenant

QUICK = Backoff(first=0.01, most=0.02)


async def make_table(config: Config, schema: str = "shop") -> None:
    """Make the table on every shard, as a migration of the tenant tree would."""
    async with Pools(config.limits) as pools:
        for shard in config.shards:
            async with pools.transaction(shard.urls.owner_url) as transaction:
                await transaction.execute(
                    "SELECT /* test */ set_config('search_path', %(schema)s || ', cloudlab', true)", schema=schema
                )
                await transaction.execute(
                    """
                    CREATE TABLE /* test */ saga_marks (
                        tenant_id uuid NOT NULL, mark_id uuid DEFAULT uuidv7() NOT NULL, saga_id uuid NOT NULL,
                        mark varchar(100) NOT NULL, CONSTRAINT pk_saga_marks PRIMARY KEY (tenant_id, mark_id))
                    """
                )
                await transaction.execute("SELECT /* test */ protect_table('saga_marks', 'true', 'INSERT')")


def note(s: Session, saga_id: UUID, mark: str) -> None:
    """Write a mark with the next statement."""
    s.queue(
        """
        INSERT /* test */ INTO saga_marks (tenant_id, saga_id, mark)
        VALUES (%(tenant_id)s::uuid, %(saga_id)s::uuid, %(mark)s)
        """,
        tenant_id=s.tenant_id,
        saga_id=saga_id,
        mark=mark,
    )


def mark(text: str) -> Callable[[Session, Running], Awaitable[dict[str, str]]]:
    """Return a local step that writes a mark and hands it on."""

    async def do(s: Session, saga: Running) -> dict[str, str]:
        note(s, saga.saga_id, text)
        return {"mark": text}

    return do


def marking(name: str, **options: object) -> Step:
    """Return a local step that marks its name, and undoes it with another mark."""
    return Step(name, do=mark(name), undo=mark(f"un{name}"), backoff=QUICK, **options)  # type: ignore[arg-type]


def failing(error: Exception, times: int = 1_000_000) -> Callable[[object, Running], Awaitable[None]]:
    """Return a step that raises so many times, then completes."""

    async def do(context: object, saga: Running) -> None:
        if saga.attempt <= times:
            raise error

    return do


async def marks(platform: Platform, tenant: Tenant, saga_id: UUID) -> list[str]:
    """Return the marks of a saga in the order in which they were made."""
    async with platform.session(tenant) as s:
        rows = await s.fetch_tuples(
            "SELECT /* test */ mark FROM saga_marks WHERE saga_id = %(saga_id)s::uuid ORDER BY mark_id", saga_id=saga_id
        )
    return [row[0] for row in rows]


class Outside:
    """A provider outside of the shard: a file that remembers each idempotency key once, whoever asks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def book(self, key: str, what: str) -> None:
        """Do something once for each key."""
        if key not in self.keys():
            with self.path.open("a") as file:
                file.write(json.dumps([key, what]) + "\n")

    def lines(self) -> list[list[str]]:
        """Return what was done, in order."""
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def keys(self) -> set[str]:
        """Return the keys that were used."""
        return {key for key, _ in self.lines()}

    def done(self) -> list[str]:
        """Return what was done, without the keys."""
        return [what for _, what in self.lines()]

    def step(self, name: str, **options: object) -> Step:
        """Return an external step that books its name, and undoes it by booking another."""

        async def do(call: Call, saga: Running) -> dict[str, str]:
            self.book(call.idempotency_key, name)
            return {"booked": name}

        async def undo(call: Call, saga: Running) -> None:
            self.book(call.idempotency_key, f"un{name}")

        return Step(name, do=do, undo=undo, external=True, backoff=QUICK, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def running(platform: Platform, tenant: Tenant, **options: object) -> AsyncGenerator[None]:
    """Run the sagas of a tenant's shard, and what wakes them, meanwhile."""
    watch = platform.readers.watch(tenant.shard)
    tasks = [
        asyncio.create_task(platform.sagas.runner(tenant.shard, **options).run()),  # type: ignore[arg-type]
        asyncio.create_task(watch.run()),
        *(
            asyncio.create_task(platform.readers.follower(tenant.shard, projection, watch, lambda _: None).run())
            for projection in platform.readers.projections
        ),
    ]
    try:
        yield
        for task in tasks:
            assert not task.done(), task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def begin(platform: Platform, tenant: Tenant, saga: Saga, data: dict[str, object] | None = None) -> UUID:
    """Start a saga in a transaction of its own."""
    async with platform.session(tenant) as s:
        return await sagas.start(s, saga, data or {})


async def journal(platform: Platform, tenant: Tenant, saga_id: UUID) -> Sequence[tuple[str, str, int, str]]:
    """Return step, direction, attempt and status of each row of the journal."""
    async with platform.session(tenant) as s:
        rows = await s.fetch_tuples(
            """
            SELECT /* test */ step_type, direction, attempt, status FROM saga_steps
            WHERE saga_id = %(saga_id)s::uuid ORDER BY started_at, step_number, attempt
            """,
            saga_id=saga_id,
        )
    return [(name, direction, attempt, status) for name, direction, attempt, status in rows]
