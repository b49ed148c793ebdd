"""Events as classes: a name and a version in the store, a frozen dataclass in the code.

    @upcaster("OrderGifted", from_version=1)
    def _(data): return {**data, "wrapping": None}

    @event("OrderGifted", version=2)
    class OrderGifted:
        order_id: UUID
        wrapping: str | None

What was once written is never rewritten: old versions are lifted by their upcasters when they are read, and an event
whose type or version this process does not know is handed out raw. The version of a payload stands beside its fields
as `schema_version`; where that is absent it is 1.

Standard: §3.2 Event Store Schema, §3.2 Event Examples
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast, dataclass_transform, get_type_hints

from cloudlab.errors import ConfigError, InvalidInput
from cloudlab.events.fields import Converter, converter, refused
from cloudlab.values import Event, NewEvent

C = TypeVar("C")
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

SCHEMA_VERSION = "schema_version"
_SUBJECT = "cloudlab.subject"


def personal(*, subject: str) -> Any:  # noqa: ANN401  as dataclasses.field, which it stands for
    """Declare a field of a person: sealed in the store with that person's key, None once the person was erased.

    Args:
        subject: Name of the UUID field of the same event that says whose it is.
    """
    return dataclasses.field(metadata={_SUBJECT: subject})


@dataclass(frozen=True, slots=True)
class PersonalValue:
    """A personal value on its way into the store, and whose it is. It has no form in JSON until it is sealed."""

    subject_id: str
    value: object = dataclasses.field(repr=False)


def is_sealed(value: object) -> bool:
    """Say whether a value of a recorded event is sealed: `{"sealed": base64, "subject": UUID}`."""
    return isinstance(value, dict) and cast(dict[str, object], value).keys() == {"sealed", "subject"}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    converter: Converter
    is_required: bool
    subject: str | None


@dataclass(frozen=True, slots=True)
class EventType:
    """What is registered under a name: the class of its newest version, and how it is read and written."""

    name: str
    version: int
    made: type
    fields: tuple[_Field, ...]


_types: dict[str, EventType] = {}
_classes: dict[type, EventType] = {}
_upcasters: dict[tuple[str, int], Upcaster] = {}


def upcaster(event_type: str, *, from_version: int) -> Callable[[Upcaster], Upcaster]:
    """Register a pure function that lifts a payload from this version to the next; write it above the class.

    Raises:
        ConfigError: There is another one for this step, or the class is registered already.
    """

    def register(lift: Upcaster) -> Upcaster:
        known = _upcasters.get((event_type, from_version))
        if known and (known.__module__, known.__qualname__) != (lift.__module__, lift.__qualname__):
            raise ConfigError(f"{event_type} has two upcasters from version {from_version}")
        if not known and event_type in _types:
            raise ConfigError(f"the upcaster of {event_type} from version {from_version} stands below its class")
        _upcasters[event_type, from_version] = lift
        return lift

    return register


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(dataclasses.field, personal))
def event(event_type: str, *, version: int = 1) -> Callable[[type[C]], type[C]]:
    """Make a class the current version of an event type: a frozen dataclass with keyword arguments.

    Raises:
        ConfigError: A step of its upcasters is missing, the name is taken, or a field is of a kind no event can hold.
    """

    def register(cls: type[C]) -> type[C]:
        made = dataclass(frozen=True, slots=True, kw_only=True)(cls)
        known = _types.get(event_type)
        if known and (known.made.__module__, known.made.__qualname__) != (made.__module__, made.__qualname__):
            raise ConfigError(f"{event_type} is registered by {known.made.__module__}.{known.made.__qualname__}")
        steps = [number for name, number in _upcasters if name == event_type]
        if sorted(steps) != list(range(1, version)):
            wanted = ", ".join(map(str, range(1, version))) or "none"
            raise ConfigError(
                f"{event_type} version {version} needs upcasters from {wanted}, and has {sorted(steps) or 'none'}",
                hint="Write every step above the class; old events are read for ever.",
            )
        _types[event_type] = _classes[made] = EventType(event_type, version, made, _fields(event_type, made))
        return made

    return register


def _fields(event_type: str, made: type) -> tuple[_Field, ...]:
    hints = get_type_hints(made)
    found: list[_Field] = []
    for item in dataclasses.fields(cast(Any, made)):
        subject = item.metadata.get(_SUBJECT)
        kind = converter(hints[item.name])
        if item.name == SCHEMA_VERSION:
            raise ConfigError(f"{event_type}: {SCHEMA_VERSION} is the store's own field")
        if subject and not (kind.is_optional and hints.get(subject) is not None):
            raise ConfigError(
                f"{event_type}.{item.name} is personal: it must allow None, and {subject} must be a field"
            )
        is_required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        found.append(_Field(item.name, kind, is_required, subject))
    return tuple(found)


def registered() -> list[EventType]:
    """Return every event type that this process knows, by name."""
    return [_types[name] for name in sorted(_types)]


def to_new_event(value: object) -> NewEvent:
    """Turn a typed event into what the store appends; a NewEvent is given back as it is.

    Personal values in it are wrapped until `subjects.sealed` has sealed them; JSON has no form for them before.

    Raises:
        InvalidInput: It is no typed event, or a value is not what its field was declared to hold.
    """
    if isinstance(value, NewEvent):
        return value
    kind = _classes.get(type(value))
    if kind is None:
        raise InvalidInput(f"{type(value).__name__} is not an event", hint="Register its class with @event.")
    data: dict[str, Any] = {}
    for item in kind.fields:
        try:
            data[item.name] = item.converter.encode(getattr(value, item.name))
        except (TypeError, ValueError) as error:
            raise refused(kind.name, item.name, error) from None
    for item in kind.fields:
        if item.subject and data[item.name] is not None:
            data[item.name] = PersonalValue(str(data[item.subject]), data[item.name])
    if kind.version > 1:
        data[SCHEMA_VERSION] = kind.version
    return NewEvent(kind.name, data)


def typed(event: Event, *, sealed_as_none: bool = False) -> object:
    """Return a recorded event as its class, lifted to the current version; the Event itself if that is unknown here.

    Args:
        event: As it was read; its personal fields are opened by `subjects.reveal` before. An erased person's are None.
        sealed_as_none: Read personal fields that are still sealed as None, for who needs none of them.

    Raises:
        InvalidInput: The payload is not what its type and version say, or still sealed.
    """
    kind = _types.get(event.event_type)
    version = event.event_data.get(SCHEMA_VERSION, 1)
    if kind is None or not isinstance(version, int) or not 1 <= version <= kind.version:
        return event
    data = event.event_data
    if sealed_as_none:
        data = {name: None if is_sealed(value) else value for name, value in data.items()}
    return _read(kind, lifted(kind.name, data, version, kind.version))


def lifted(event_type: str, data: Mapping[str, Any], version: int, to_version: int) -> dict[str, Any]:
    """Return a payload lifted step by step from one version of its type to another."""
    lifted = {name: value for name, value in data.items() if name != SCHEMA_VERSION}
    for step in range(version, to_version):
        lifted = _upcasters[event_type, step](lifted)
    return lifted


def _read(kind: EventType, data: Mapping[str, Any]) -> object:
    """Build the object; fields that the class does not have are passed over, absent ones take their default."""
    values: dict[str, object] = {}
    for item in kind.fields:
        if item.name not in data:
            if item.is_required:
                raise InvalidInput(f"{kind.name}.{item.name} is missing from a recorded event")
            continue
        value = data[item.name]
        if item.subject and is_sealed(value):
            raise InvalidInput(f"{kind.name}.{item.name} is sealed", hint="Pass the event through subjects.reveal.")
        try:
            values[item.name] = item.converter.decode(value)
        except (TypeError, ValueError) as error:
            raise refused(kind.name, item.name, error) from None
    return kind.made(**values)
