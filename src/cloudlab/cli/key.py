"""`cloudlab key`: the master keys, and the keys of tenants.

Standard: §9.1 Encryption at Rest
"""

from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cloudlab import config as configuration
from cloudlab.cli.terminal import Json, err, print_json, run
from cloudlab.crypto import Keyring
from cloudlab.embedded import stack
from cloudlab.errors import InvalidInput
from cloudlab.events.subjects import rotate_master_key
from cloudlab.platform import Platform
from cloudlab.postgres.pool import Pools
from cloudlab.shop import payment_methods, user_fields
from cloudlab.tenancy import fields, rotation

app = typer.Typer(help="Change the keys that protect personal data.", no_args_is_help=True)


@app.callback()
def key() -> None:
    """Change the keys that protect personal data."""


@app.command(epilog="Examples: cloudlab key rotate --new (embedded stack) · cloudlab key rotate --tenant acme")
def rotate(
    new: Annotated[bool, typer.Option("--new", help="First make a new key for the embedded stack.")] = False,
    tenant: Annotated[
        str | None, typer.Option(help="Make a new key for this tenant, and seal its fields anew.", show_default=False)
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="Replace the tenant's index key instead; the tenant waits meanwhile.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, max=10_000, help="Keys or rows in a transaction.")] = 500,
    as_json: Json = False,
) -> None:
    """Wrap every key with the newest master key, while the shop works; interrupted, it is simply run again.

    On servers of your own, first add a key with a higher version to [encryption] and restart every process. The old key
    may be taken away when this has ended. With --tenant the tenant's own key is changed instead, and the fields of its
    rows follow it. --index is for an index key that may have leaked: see docs/decisions/0007-unique-blind-indexes.md.
    """
    if index and not tenant:
        raise InvalidInput("--index needs --tenant", hint="Name the tenant whose index key is to be replaced.")
    if tenant and index:
        _replace_index_key(tenant, batch_size, as_json=as_json)
        return
    if tenant:
        _rotate_tenant(tenant, batch_size, as_json=as_json)
        return
    if new:
        if configuration.names_servers():
            raise InvalidInput("--new is for the embedded stack", hint="Add a key to [encryption] in cloudlab.toml.")
        run(stack.new_master_key(configuration.state_dir()))
    config = configuration.load()
    keyring = Keyring(config.master_keys)
    newest = keyring.newest

    async def work() -> dict[str, int]:
        with Progress(
            TextColumn("{task.description}"), TextColumn("{task.completed:,.0f} keys"), TimeElapsedColumn(), console=err
        ) as bar:
            wrapped: dict[str, int] = {}
            async with Pools(config.limits) as pools:
                for shard in config.shards:
                    task = bar.add_task(shard.name, total=None)
                    wrapped[shard.name] = await rotate_master_key(
                        pools,
                        shard.urls.worker_url,
                        keyring,
                        batch_size=batch_size,
                        progress=lambda count, task=task: bar.advance(task, count),
                    )
                    wrapped[shard.name] += await fields.rewrap(pools, shard.urls.worker_url, keyring)
            return wrapped

    wrapped = run(work())
    if as_json:
        print_json({"master_key_version": newest, "wrapped": wrapped})
    else:
        err.print(f"{sum(wrapped.values()):,} keys wrapped with master key {newest}", highlight=False)


def _replace_index_key(name: str, batch_size: int, *, as_json: bool) -> None:
    async def work() -> int:
        async with Platform.open() as platform:
            tenant = await platform.tenant(name)
            return await rotation.replace_index_key(
                lambda: platform.session(tenant), (user_fields.SEALED,), batch_size=batch_size
            )

    rows = run(work())
    if as_json:
        print_json({"tenant": name, "rows": rows})
    else:
        err.print(f"{rows:,} rows of {name} are indexed with a new key", highlight=False)


def _rotate_tenant(name: str, batch_size: int, *, as_json: bool) -> None:
    async def work() -> tuple[int, int]:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=err) as bar:
            tasks: dict[str, TaskID] = {}

            def show(table: str, rows: int, total: int) -> None:
                if table not in tasks:
                    tasks[table] = bar.add_task(table, total=total)
                bar.advance(tasks[table], rows)

            async with Platform.open() as platform:
                tenant = await platform.tenant(name)
                return await rotation.rotate(
                    lambda: platform.session(tenant),
                    (user_fields.SEALED, payment_methods.SEALED),
                    batch_size=batch_size,
                    progress=show,
                )

    number, moved = run(work())
    if as_json:
        print_json({"tenant": name, "key_number": number, "rows": moved})
    else:
        err.print(f"{moved:,} rows of {name} are sealed with its key {number}", highlight=False)
