"""`cloudlab demo` from nothing: the embedded stack is really started, and really stopped afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded.stacks import stack_folder
from fixtures.commands import cloudlab
from fixtures.shops import small_shop, write_folder

PROMISES = {"I1", "I2", "I3", "I4", "I5", "I11"}


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with stack_folder() as state_dir:
        yield state_dir.parent


def demo(home: Path, *arguments: object) -> dict:
    done = cloudlab(home, "demo", *arguments, "--json", CLOUDLAB_STATE_DIR=str(home / "state"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_from_nothing_to_two_shops_and_again(home: Path):
    first = demo(home, "--orders", 30)
    assert first["is_green"]
    assert (first["orders"], first["projection_lag"], first["rejects_file"]) == (60, 0, None)
    assert {each["id"] for each in first["invariants"]} == PROMISES
    assert {(each["placement"], each["region"]) for each in first["tenants"]} == {
        ("row", "us-east-1"),
        ("schema", "eu-west-1"),
    }
    assert 0 < first["cache_hit_ratio"] < 1
    assert all(len(each["top_products"]) == 5 and each["top_products"][0]["name"] for each in first["tenants"])

    again = demo(home, "--orders", 30)
    assert again["is_green"]
    assert {(load["orders_new"], load["orders_there"]) for load in again["loads"].values()} == {(0, 30)}

    def figures(report: dict) -> list[object]:
        names = ("tenant_name", "orders", "lines", "revenue", "revenue_by_month", "top_products")
        return [[tenant[name] for name in names] for tenant in report["tenants"]]

    assert figures(again) == figures(first)


def test_a_folder_of_orders_gets_a_shop_of_its_own_and_must_come_out_to_the_penny(home: Path):
    shop = small_shop(25)
    found = demo(home, "--orders", 30, "--data", write_folder(shop, home / "My Shop"))
    assert {each["id"] for each in found["invariants"]} == PROMISES | {"FILES"}
    imported = next(each for each in found["tenants"] if each["tenant_name"] == "demo-data-my-shop")
    assert (imported["orders"], imported["lines"]) == (25, shop.line_count)
    assert imported["revenue"] == {"amount": f"{shop.revenue:.4f}", "currency": "GBP"}


def test_the_report_is_for_people_without_json(home: Path):
    done = cloudlab(home, "demo", "--orders", 30, CLOUDLAB_STATE_DIR=str(home / "state"))
    assert done.returncode == 0, done.stderr
    assert "all 30 orders were there already" in done.stderr
    assert "Green: every promise that was checked holds." in done.stdout
