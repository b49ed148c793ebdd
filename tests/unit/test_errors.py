"""One tree, each class distinct, and PostgreSQL's errors translated by what happened."""

import inspect

import psycopg
import pytest

from cloudlab import errors
from cloudlab.crypto import hash_password, verify_password
from cloudlab.events.store import as_json

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.CloudLabError)]


def test_codes_are_unique():
    assert len({kind.code for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_docstring_is_the_default_message(kind: type[errors.CloudLabError]):
    assert str(kind()) == (kind.__doc__ or "").strip() != ""
    assert set(kind("m", hint="h").as_dict()) == {"code", "message", "details", "hint"}


@pytest.mark.parametrize(
    ("original", "kind"),
    [
        (psycopg.errors.SerializationFailure("x"), errors.SerializationFailed),
        (psycopg.errors.DeadlockDetected("x"), errors.SerializationFailed),
        (psycopg.errors.LockNotAvailable("x"), errors.TimedOut),
        (psycopg.errors.UniqueViolation("x"), errors.Duplicate),
        (psycopg.errors.InsufficientPrivilege("x"), errors.Forbidden),
        (psycopg.errors.AdminShutdown("x"), errors.Unavailable),
        (psycopg.OperationalError("gone"), errors.Unavailable),
    ],
)
def test_postgres_errors_are_translated(original: psycopg.Error, kind: type[errors.CloudLabError]):
    assert type(errors.from_postgres(original)) is kind


def test_passwords_are_salted_and_checked():
    first, second = hash_password("correct horse"), hash_password("correct horse")
    assert first != second
    assert verify_password("correct horse", first)
    assert not verify_password("wrong", first)
    assert not verify_password("", "!")


@pytest.mark.parametrize("payload", [{"a": 1.5}, {"a": [{"b": 0.1}]}, {"a": object()}])
def test_an_event_holds_no_float_and_nothing_that_json_cannot_say(payload: dict[str, object]):
    with pytest.raises(errors.InvalidInput):
        as_json(payload)
