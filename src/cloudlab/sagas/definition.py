"""What a saga is made of: steps with their compensations, in order, side by side, or waiting for something.

    Step       does something, and may undo it: local to the shard, or external
    Parallel   steps side by side; Each   one step for each element of a list in the saga's data
    Wait       until an event happens; Sleep   for a time
    Saga       all of it, with a name and a version

Standard: §3.3 Saga State Management
"""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, is_dataclass, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar, cast
from uuid import UUID

from cloudlab.errors import CloudLabError, CommitUnknown, ConfigError, InvalidInput
from cloudlab.events.fields import record
from cloudlab.session import Session

T = TypeVar("T")

MOST_NAME = 100

Result = object
"""What a step returns: a mapping, a dataclass, or None."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts, in seconds: the first, then each twice as long, `most` at most; give or take 25 %."""

    first: float = 0.1
    most: float = 60.0

    def pause(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row, with jitter."""
        pause = min(self.first * 2 ** min(failures - 1, 60), self.most)
        return pause * random.uniform(0.75, 1.25)  # noqa: S311  jitter, not a secret


@dataclass(frozen=True, slots=True)
class Running:
    """The saga as a step sees it.

    `data` and `results` have been through JSON, on the first attempt as on any later one: ids and times are text.

    Attributes:
        saga_id: The saga.
        tenant_id: For whom it works.
        data: What `start` was given; `input` returns it as a dataclass.
        results: What each completed step handed on, by its name; `result` returns one as a dataclass.
        attempt: Which attempt at this step, from 1.
        item: The element of the list, in a step made by Each.
    """

    saga_id: UUID
    tenant_id: UUID
    data: Mapping[str, Any]
    results: Mapping[str, Mapping[str, Any]]
    attempt: int = 1
    item: Any = None

    def input(self, kind: type[T]) -> T:
        """Return the data as the dataclass that `start` was given; InvalidInput when it is another."""
        return _read(kind, self.data, f"saga {self.saga_id}")

    def result(self, step: str, kind: type[T]) -> T:
        """Return what a completed step has handed on as the dataclass it returned; InvalidInput when it is another."""
        return _read(kind, self.results.get(step, {}), step)


def _read(kind: type[T], data: Mapping[str, Any], whose: str) -> T:
    try:
        return cast(T, record(kind).decode(data))
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the data of {whose} is no {kind.__name__}: {error}") from None


def written(value: object) -> Mapping[str, Any]:
    """Return what a saga was given, or a step returned, as a mapping.

    Raises:
        InvalidInput: It is neither a mapping nor a dataclass, or a field does not hold what it was declared to.
    """
    if value is None or isinstance(value, Mapping):
        return cast(Mapping[str, Any], value or {})
    if isinstance(value, type) or not is_dataclass(value):
        raise InvalidInput(f"a saga keeps mappings and dataclasses, not {type(value).__name__}")
    try:
        return cast(Mapping[str, Any], record(type(value)).encode(value))
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{type(value).__name__}: {error}") from None


@dataclass(frozen=True, slots=True)
class Call:
    """What an external step is given in place of a session: no transaction is open while it runs.

    Attributes:
        idempotency_key: The same in every attempt at this step, whoever makes it; another one for its compensation.
        session: Opens a short session of the saga's tenant, for what must be read before or after the call.
    """

    idempotency_key: str
    session: Callable[[], AbstractAsyncContextManager[Session]]


Do = Callable[[Session, Running], Awaitable[Result]] | Callable[[Call, Running], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Step:
    """Something a saga does, and how it is undone.

    A local step gets a session and commits together with its journal row: exactly once. An external one gets a Call; it
    is asked again under the same key until its outcome is known.

    Attributes:
        name: Unique in its saga.
        do: `async do(session or call, saga)`; what it returns is found in `saga.results` by later steps.
        undo: The compensation, of the same kind. It must bear that nothing had happened, when `do` was unknown.
        attempts: After so many failures of a kind that may pass, the saga is compensated.
        undo_attempts: After so many failures of its compensation, the saga waits for a human.
        timeout: Of one attempt.
        backoff: Pauses between attempts.
        external: Whether it calls something outside of the shard.
        alone: Whether a local step has its transaction for itself. One that locks what other sagas lock too, such as
            stock, must: those that share a transaction take their locks in the order in which they come.
        pivot: When this has happened, there is only forward.
    """

    name: str
    do: Do
    undo: Do | None = None
    attempts: int = 5
    undo_attempts: int = 20
    timeout: timedelta = timedelta(seconds=30)
    backoff: Backoff = Backoff()
    external: bool = False
    alone: bool = False
    pivot: bool = False


@dataclass(frozen=True, slots=True)
class Parallel:
    """Steps side by side; the saga goes on when all have completed. Their results stand under their own names."""

    name: str
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True, init=False)
class Each:
    """One step for each element of a list, side by side: `ship[0]`, `ship[1]`, …; `saga.item` is the element.

    `over` names the list in the saga's data or in the result of an earlier step. Other arguments are those of Step.
    """

    name: str
    over: str
    step: Step

    def __init__(self, name: str, *, over: str, do: Do, **options: Any) -> None:  # noqa: ANN401  those of Step
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "over", over)
        object.__setattr__(self, "step", Step(name, do, **options))


@dataclass(frozen=True, slots=True)
class Wait:
    """Until an event of this type is in the stream of one aggregate; one recorded since the saga was started counts.

    The event's data is the step's result. When the time is over, the step has failed.

    Attributes:
        name: Unique in its saga.
        event: The type of the event.
        of: What in the saga's data or results holds the aggregate's id; may be left out when one entry of the data is
            an id.
        timeout: How long to wait; None = for ever.
    """

    name: str
    event: str
    of: str | None = None
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """For a time, which a restart does not lengthen."""

    duration: timedelta
    name: str = ""


Part = Step | Parallel | Each | Wait | Sleep


@dataclass(frozen=True, slots=True)
class Unit:
    """One thing to be done: a step of a saga, for one element of its list where it is made from one."""

    number: int
    name: str
    what: Step | Wait | Sleep
    item: Any = None


@dataclass(frozen=True, slots=True, init=False)
class Saga:
    """A definition: what is done in which order. A running saga ends with the version it was started with.

    Raises:
        ConfigError: Two steps share a name, there are several pivots, or it has no step.
    """

    name: str
    parts: tuple[Part, ...]
    version: int = 1
    deadline: timedelta | None = None
    pivot: int = field(default=-1)

    def __init__(self, name: str, *parts: Part, version: int = 1, deadline: timedelta | None = None) -> None:
        named = tuple(
            replace(part, name=f"sleep-{number}") if isinstance(part, Sleep) and not part.name else part
            for number, part in enumerate(parts)
        )
        _check(name, named)
        pivots = [number for number, part in enumerate(named) if _is_pivot(part)]
        if len(pivots) > 1:
            raise ConfigError(f"saga {name} has {len(pivots)} pivots", hint="There is one point of no return at most.")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "parts", named)
        object.__setattr__(self, "version", version)
        object.__setattr__(self, "deadline", deadline)
        object.__setattr__(self, "pivot", pivots[0] if pivots else len(named))

    @property
    def awaited(self) -> frozenset[str]:
        """The types of the events it waits for."""
        return frozenset(part.event for part in self.parts if isinstance(part, Wait))

    def units(self, number: int, saga: Running) -> list[Unit]:
        """Return what one part is made of in this saga: one unit, or as many as run side by side.

        Raises:
            InvalidInput: The list of an Each is not there.
        """
        part = self.parts[number]
        if isinstance(part, Parallel):
            return [Unit(number, step.name, step) for step in part.steps]
        if isinstance(part, Each):
            items = found(saga, part.over)
            if not isinstance(items, list):
                raise InvalidInput(f"saga {self.name}: {part.over} is no list in its data or results")
            elements = cast(list[Any], items)
            return [Unit(number, f"{part.name}[{n}]", part.step, item) for n, item in enumerate(elements)]
        return [Unit(number, part.name, part)]


def found(saga: Running, name: str) -> object:
    """Return an entry of the saga's data, or else of the latest result that has it; None when there is none."""
    for place in (saga.data, *reversed(list(saga.results.values()))):
        if name in place:
            return place[name]
    return None


def aggregate_of(wait: Wait, saga: Running) -> UUID:
    """Return whose event a saga waits for.

    Raises:
        InvalidInput: Its data does not say.
    """
    if wait.of is not None:
        value = _as_id(found(saga, wait.of))
        if value is None:
            raise InvalidInput(f"{wait.of} is no id in the data or results, so {wait.name} has nothing to wait on")
        return value
    ids = {value for value in map(_as_id, saga.data.values()) if value}
    if len(ids) != 1:
        raise InvalidInput(
            f"{wait.name} cannot tell whose {wait.event} to wait for: the data holds {len(ids)} ids",
            hint="Say it: Wait(…, of='order_id').",
        )
    return ids.pop()


def may_pass(error: BaseException) -> bool:
    """Return whether trying again may help; of an external step, its outcome is then unknown."""
    if isinstance(error, CloudLabError):
        return error.retryable or isinstance(error, CommitUnknown)
    return isinstance(error, OSError | TimeoutError)


def _as_id(value: object) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None


def _is_pivot(part: Part) -> bool:
    if isinstance(part, Parallel):
        return any(step.pivot for step in part.steps)
    return (isinstance(part, Step) and part.pivot) or (isinstance(part, Each) and part.step.pivot)


def _check(name: str, parts: Sequence[Part]) -> None:
    if not parts:
        raise ConfigError(f"saga {name} has no steps")
    names = sorted(
        each for part in parts for each in ([s.name for s in part.steps] if isinstance(part, Parallel) else [part.name])
    )
    for first, second in pairwise(names):
        if first == second:
            raise ConfigError(f"saga {name} has two steps named {first}", hint="Their results stand under their names.")
    for each in (name, *names):
        if not each or len(each) > MOST_NAME or "[" in each:
            raise ConfigError(f"{each!r} cannot name a saga or a step", hint=f"1 to {MOST_NAME} characters, no '['.")
