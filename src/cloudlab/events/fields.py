"""How a field of a typed event, or of a saga's data, is written as JSON and read back: each kind by its own functions.

Exactness comes first: an amount is a decimal string, a time knows its zone, and nothing is converted silently.
"""

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import cache
from typing import Any, Union, cast, get_args, get_origin, get_type_hints
from uuid import UUID

from cloudlab.errors import BadMoney, ConfigError, InvalidInput
from cloudlab.values import Money


@dataclass(frozen=True, slots=True)
class Converter:
    """Writes a value of one kind as JSON and reads it back; a ValueError or TypeError says that it is none."""

    encode: Callable[[object], object]
    decode: Callable[[object], object]
    is_optional: bool = False


def converter(annotation: object) -> Converter:
    """Return the converter of an annotation.

    Raises:
        ConfigError: It is not str, int, bool, UUID, datetime, Decimal, Money, a StrEnum, a dataclass, a list of those,
            or one of them | None.
    """
    if isinstance(annotation, type) and annotation in _SIMPLE:
        return _SIMPLE[annotation]
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return Converter(_instance(annotation, str), lambda value: annotation(_text(value)))
    if isinstance(annotation, type) and is_dataclass(annotation):
        return record(annotation)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is list:
        return _list_of(converter(parts[0]))
    kinds = [part for part in parts if part is not type(None)]
    if origin in (Union, types.UnionType) and len(kinds) == 1 and len(parts) == 2:
        return _optional(converter(kinds[0]))
    raise ConfigError(
        f"{annotation} cannot be a field of an event",
        hint="Use str, int, bool, UUID, datetime, Decimal, Money, StrEnums, dataclasses, lists of them, or one | None.",
    )


@cache
def record(kind: type) -> Converter:
    """Return the converter of a dataclass: a mapping by field. Unknown names are passed over, absent ones are defaults.

    Raises:
        ConfigError: One of its fields has no converter.
    """
    hints = get_type_hints(kind)
    converters = {item.name: converter(hints[item.name]) for item in fields(cast(Any, kind))}
    required = {
        item.name for item in fields(cast(Any, kind)) if item.default is MISSING and item.default_factory is MISSING
    }

    def encode(value: object) -> object:
        return {name: _named(name, each.encode, getattr(value, name)) for name, each in converters.items()}

    def decode(value: object) -> object:
        if not isinstance(value, Mapping):
            raise TypeError(f"must be a {kind.__name__}, not {type(value).__name__}")
        given = cast(Mapping[str, object], value)
        if absent := sorted(required - given.keys()):
            raise ValueError(f"{', '.join(absent)} is missing from a {kind.__name__}")
        return kind(**{n: _named(n, each.decode, given[n]) for n, each in converters.items() if n in given})

    return Converter(_instance(kind, encode), decode)


def _named(name: str, convert: Callable[[object], object], value: object) -> object:
    try:
        return convert(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} {error}") from None


def _exactly(kind: type) -> Callable[[object], object]:
    """Return what lets only this very kind pass: a bool is no int here."""

    def check(value: object) -> object:
        if type(value) is not kind:
            raise TypeError(f"must be {kind.__name__}, not {type(value).__name__}")
        return value

    return check


def _instance(kind: type, write: Callable[[object], object]) -> Callable[[object], object]:
    def encode(value: object) -> object:
        if not isinstance(value, kind):
            raise TypeError(f"must be {kind.__name__}, not {type(value).__name__}")
        return write(value)

    return encode


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"must be a string, not {type(value).__name__}")
    return value


def _write_time(value: object) -> str:
    time = cast(datetime, value)
    if time.tzinfo is None:
        raise ValueError("must be a time with its zone")
    return time.isoformat()


def _read_time(value: object) -> datetime:
    text = _text(value)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a time in ISO 8601") from None


def _write_decimal(value: object) -> str:
    number = cast(Decimal, value)
    if not number.is_finite():
        raise ValueError("must be finite")
    return str(number)


def _read_decimal(value: object) -> Decimal:
    try:
        return Decimal(_text(value))
    except InvalidOperation:
        raise ValueError("must be a decimal string") from None


def _write_money(value: object) -> dict[str, str]:
    money = cast(Money, value)
    return {"amount": str(money.amount), "currency": money.currency}


def _read_money(value: object) -> Money:
    if not isinstance(value, Mapping):
        raise TypeError("must be an amount with its currency")
    parts = cast(Mapping[str, object], value)
    try:
        return Money(_text(parts.get("amount")), _text(parts.get("currency")))
    except BadMoney:
        raise ValueError("must be a decimal amount in a currency") from None


_SIMPLE: dict[type, Converter] = {
    str: Converter(_exactly(str), _exactly(str)),
    int: Converter(_exactly(int), _exactly(int)),
    bool: Converter(_exactly(bool), _exactly(bool)),
    UUID: Converter(_instance(UUID, str), lambda value: UUID(_text(value))),
    datetime: Converter(_instance(datetime, _write_time), _read_time),
    Decimal: Converter(_instance(Decimal, _write_decimal), _read_decimal),
    Money: Converter(_instance(Money, _write_money), _read_money),
}


def _list_of(item: Converter) -> Converter:
    def items(value: object) -> list[object]:
        if not isinstance(value, list):
            raise TypeError(f"must be a list, not {type(value).__name__}")
        return cast(list[object], value)

    return Converter(
        lambda value: [item.encode(part) for part in items(value)],
        lambda value: [item.decode(part) for part in items(value)],
    )


def _optional(some: Converter) -> Converter:
    return Converter(
        lambda value: None if value is None else some.encode(value),
        lambda value: None if value is None else some.decode(value),
        is_optional=True,
    )


def refused(event_type: str, name: str, error: Exception) -> InvalidInput:
    """Return the error of a field that cannot be converted. It never shows the value: that may be personal."""
    return InvalidInput(f"{event_type}.{name}: {error}")
