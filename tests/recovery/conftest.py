"""A durable stack of its own: what is killed here must not be what other tests run on."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cloudlab.cli import setup
from cloudlab.config import Config
from embedded.stacks import stack_folder


@dataclass(frozen=True)
class Installation:
    """An embedded stack that is up and migrated."""

    state_dir: Path
    config: Config

    @property
    def home(self) -> Path:
        """A folder to run commands in."""
        return self.state_dir.parent

    @property
    def environment(self) -> dict[str, str]:
        """What tells a command to use this stack."""
        return {"CLOUDLAB_STATE_DIR": str(self.state_dir)}


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """The stack that the recovery tests share; each trades in a tenant of its own."""
    with stack_folder() as state_dir:
        yield Installation(state_dir, asyncio.run(setup.bring_up(state_dir)))
