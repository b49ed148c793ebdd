"""Sagas: long transactions of several steps, each of which can be undone. See docs/guides/sagas.md."""

from cloudlab.sagas.definition import Backoff, Call, Each, Parallel, Running, Saga, Sleep, Step, Wait
from cloudlab.sagas.starting import SagaState, Start, find, start, start_all

__all__ = [
    "Backoff",
    "Call",
    "Each",
    "Parallel",
    "Running",
    "Saga",
    "SagaState",
    "Sleep",
    "Start",
    "Step",
    "Wait",
    "find",
    "start",
    "start_all",
]
