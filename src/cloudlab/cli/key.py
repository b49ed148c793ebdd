"""`cloudlab key`: the master keys.

Standard: §9.1 Encryption at Rest
"""

from typing import Annotated

import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from cloudlab import config as configuration
from cloudlab.cli.terminal import Json, err, print_json, run
from cloudlab.crypto import Keyring
from cloudlab.embedded import stack
from cloudlab.errors import InvalidInput
from cloudlab.events.subjects import rotate_master_key
from cloudlab.postgres.pool import Pools

app = typer.Typer(help="Change the master key that protects personal data.", no_args_is_help=True)


@app.callback()
def key() -> None:
    """Change the master key that protects personal data."""


@app.command(epilog="Examples: cloudlab key rotate --new (embedded stack) · cloudlab key rotate")
def rotate(
    new: Annotated[bool, typer.Option("--new", help="First make a new key for the embedded stack.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, max=10_000, help="Keys in a transaction.")] = 500,
    as_json: Json = False,
) -> None:
    """Wrap every person's key with the newest master key, while the shop works; interrupted, it is simply run again.

    On servers of your own, first add a key with a higher version to [encryption] and restart every process. The old key
    may be taken away when this has ended.
    """
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
            return wrapped

    wrapped = run(work())
    if as_json:
        print_json({"master_key_version": newest, "wrapped": wrapped})
    else:
        err.print(f"{sum(wrapped.values()):,} keys wrapped with master key {newest}", highlight=False)
