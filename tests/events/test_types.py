"""Events as classes: every version ever shipped reads, what is unknown comes raw, what is wrong is refused.

Standard: §3.2 Event Store Schema, §3.2 Event Examples
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from cloudlab.errors import ConfigError, InvalidInput, VersionConflict
from cloudlab.events import store as events
from cloudlab.events.types import event, personal, registered, to_new_event, typed, upcaster
from cloudlab.platform import Platform
from cloudlab.shop.erasure import UserErased
from cloudlab.tenancy.tenants import Tenant
from cloudlab.values import Event, Money, NewEvent, Stream
from events.shapes import Gifted, Subscribed

GOLDEN = json.loads((Path(__file__).parent / "golden" / "events.json").read_text())


def stored(event_type: str, data: dict[str, Any]) -> Event:
    return Event(
        event_position=1,
        event_id=uuid4(),
        tenant_id=uuid4(),
        aggregate_type="Test",
        aggregate_id=uuid4(),
        event_type=event_type,
        event_version=1,
        event_data=data,
        metadata=None,
        created_at=datetime.now(UTC),
    )


def gifted(**changed: Any) -> Gifted:
    whole: dict[str, Any] = {"order_id": uuid4(), "price": Money("9.90", "EUR"), "wrapping": None, "tags": []}
    return Gifted(**whole | changed)


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda entry: f"{entry['type']} {entry['version']}")
def test_every_version_ever_shipped_reads(entry: dict[str, Any]):
    before = json.dumps(entry["data"])
    assert repr(typed(stored(entry["type"], entry["data"]))) == entry["reads"]
    assert json.dumps(entry["data"]) == before, "an upcaster changed what it was given"


def test_the_corpus_holds_every_version_of_every_type_that_ships():
    assert UserErased
    held = {(entry["type"], entry["version"]) for entry in GOLDEN}
    shipped = [kind for kind in registered() if kind.made.__module__.startswith(("cloudlab.", "events.shapes"))]
    assert {(kind.name, version) for kind in shipped for version in range(1, kind.version + 1)} == held


async def test_a_typed_event_is_appended_and_read_back_equal(platform: Platform, acme: Tenant):
    stream = Stream("Order", uuid4())
    whole = gifted(weight=Decimal("1.50"), opened_at=datetime.now(UTC), is_secret=True, tags=["ä", "b"])
    async with platform.session(acme) as s:
        assert await events.append(s, stream, [gifted(), whole, NewEvent("Raw", {})], expected_version=events.NEW) == 3
    with pytest.raises(VersionConflict):
        async with platform.session(acme) as s:
            await events.append(s, stream, [whole], expected_version=1)
    async with platform.session(acme) as s:
        assert await events.append_next(s, stream, [whole], expected_version=3) == 4
    async with platform.session(acme, readonly=True) as s:
        found = await events.read_stream(s, stream)
    assert [typed(one) for one in found][1:] == [whole, found[2], whole]
    assert found[0].event_data["schema_version"] == 3
    assert "schema_version" not in found[2].event_data


def test_what_is_unknown_comes_raw():
    for unknown in (
        stored("NeverHeardOf", {"a": 1}),
        stored("TestGifted", {"schema_version": 4}),
        stored("TestGifted", {"schema_version": "x"}),
    ):
        assert typed(unknown) is unknown


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"price": 9.9}, "price: must be Money, not float"),
        ({"order_id": "0199d6f0"}, "order_id: must be UUID, not str"),
        ({"is_secret": 1}, "is_secret: must be bool, not int"),
        ({"opened_at": datetime(2026, 1, 1)}, "opened_at: must be a time with its zone"),  # noqa: DTZ001
        ({"weight": Decimal("NaN")}, "weight: must be finite"),
        ({"tags": "abc"}, "tags: must be a list, not str"),
        ({"tags": [1]}, "tags: must be str, not int"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_before_it_is_written(changed: dict[str, Any], said: str):
    with pytest.raises(InvalidInput, match=said):
        to_new_event(gifted(**changed))
    with pytest.raises(InvalidInput, match="object is not an event"):
        to_new_event(object())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"order_id": "no", "price": "1"}, "order_id"),
        ({"price": "1", "tags": []}, "order_id is missing"),
        ({"order_id": str(uuid4()), "price": "much", "tags": []}, "price: must be a decimal amount"),
        ({"order_id": str(uuid4()), "price": "1", "tags": [], "opened_at": "soon"}, "opened_at: must be a time"),
    ],
)
def test_a_payload_that_is_not_what_its_version_says_is_an_error_that_names_the_field(data: dict[str, Any], said: str):
    with pytest.raises(InvalidInput, match=said):
        typed(stored("TestGifted", {"tags": []} | data))


def test_an_unknown_field_is_passed_over_and_an_absent_one_takes_its_default():
    known = typed(stored("TestGifted", GOLDEN[2]["data"] | {"colour": "red"}))
    assert isinstance(known, Gifted)
    assert typed(stored("TestGifted", {k: v for k, v in GOLDEN[2]["data"].items() if k != "is_secret"})) == replace(
        known, is_secret=False
    )


def test_a_missing_step_is_refused_when_the_class_is_registered():
    upcaster("TestGap", from_version=1)(lambda data: data)
    with pytest.raises(ConfigError, match=r"TestGap version 3 needs upcasters from 1, 2, and has \[1\]"):

        @event("TestGap", version=3)
        class Gap:
            a: int

    @event("TestGap", version=2)
    class Whole:
        a: int

    with pytest.raises(ConfigError, match="stands below its class"):
        upcaster("TestGap", from_version=2)(lambda data: data)


def test_a_name_belongs_to_one_class():
    with pytest.raises(ConfigError, match=r"TestSubscribed is registered by events.shapes.Subscribed"):

        @event("TestSubscribed")
        class Other:
            a: int


def test_a_field_that_cannot_be_kept_exactly_is_refused_when_the_class_is_registered():
    with pytest.raises(ConfigError, match="float"):

        @event("TestFloat")
        class Float:
            a: float

    with pytest.raises(ConfigError, match="a is personal: it must allow None"):

        @event("TestPersonal")
        class Personal:
            a: str = personal(subject="nobody")


def test_a_personal_value_cannot_be_written_unsealed():
    ada = Subscribed(user_id=UUID(int=7), plan="gold", email="ada@acme.test", nicknames=None, spent=None)
    plain = to_new_event(ada)
    with pytest.raises(InvalidInput) as refused:
        events.as_json(plain.data)
    assert "ada@acme.test" not in str(refused.value) + repr(plain)
