"""Stacks in folders of their own; whatever a test did to one, nothing of it runs or lies about afterwards."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudlab.embedded import stack
from embedded.stacks import stack_folder


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """The folder of a stack that does not exist yet."""
    with stack_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def running() -> Iterator[Path]:
    """The folder of a stack that many tests share; each finds it running and leaves it well."""
    with stack_folder() as folder:
        asyncio.run(stack.up(folder))
        yield folder
