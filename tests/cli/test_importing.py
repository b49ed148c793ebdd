"""`cloudlab import` as a script meets it: exit codes, the summary, the rejects file."""

import asyncio
import csv
import json
from pathlib import Path

import pytest

from cloudlab.config import Config
from cloudlab.platform import Platform
from cloudlab.shop import catalog, files
from cloudlab.shop.dataset import Dataset
from cloudlab.values import Money
from fixtures.commands import cloudlab, write_config
from fixtures.shops import Contents, as_expected, contents, small_shop, write_folder


@pytest.fixture
def home(config: Config, tmp_path: Path) -> Path:
    write_config(config, tmp_path)
    return tmp_path


@pytest.fixture
def shop() -> Dataset:
    return small_shop(25)


def held_by(config: Config, name: str) -> Contents:
    async def count() -> Contents:
        async with Platform.open(config) as platform:
            return await contents(platform, await platform.tenant(name))

    return asyncio.run(count())


def test_a_folder_becomes_a_shop_and_again_changes_nothing(home: Path, config: Config, shop: Dataset):
    folder = write_folder(shop, home / "shop")
    command = ("import", folder, "--tenant", "gifts", "--region", "eu-west-1", "--placement", "schema")
    first = cloudlab(home, *command, "--json")
    assert first.returncode == 0, first.stderr
    summary = json.loads(first.stdout)
    revenue = f"{shop.revenue:,.2f} GBP"
    assert (summary["orders_new"], summary["lines"], summary["revenue"]) == (25, shop.line_count, revenue)
    assert as_expected(held_by(config, "gifts"), files.read(folder))
    assert not (home / "rejects.csv").exists()

    before = held_by(config, "gifts")
    again = cloudlab(home, *command, "--concurrency", "3")
    assert again.returncode == 0, again.stderr
    assert revenue in again.stdout
    assert "orders there  25" in again.stdout
    assert held_by(config, "gifts") == before
    listed = json.loads(cloudlab(home, "tenant", "show", "gifts", "--json").stdout)
    assert [(each["region"], each["placement"]) for each in listed] == [("eu-west-1", "schema")]


def test_what_is_refused_by_the_reader_or_the_shop_goes_to_the_rejects_file(home: Path, config: Config, shop: Dataset):
    folder = write_folder(shop, home / "shop")
    bad, short = shop.orders[3].order_number, shop.orders[7].order_number
    rows = (folder / "order_items.csv").read_text().splitlines()
    line = next(number for number, row in enumerate(rows, 1) if row.startswith(bad))
    rows[line - 1] = rows[line - 1].rpartition(",")[0] + ",cheap"
    (folder / "order_items.csv").write_text("\n".join(rows))
    assert cloudlab(home, "import", folder, "--tenant", "gifts", "--dry-run").returncode == 1

    async def buy_out() -> None:
        """Open the shop with one product of the seventh order nearly sold out."""
        async with Platform.open(config) as platform:
            tenant = await platform.create_tenant("gifts")
            async with platform.session(tenant) as s:
                await catalog.add(s, sku=scarce.sku, name="Scarce", price=Money("1", "GBP"), stock=0)

    scarce = min(shop.orders[7].lines, key=lambda each: sum(each.sku == i.sku for o in shop.orders for i in o.lines))
    asyncio.run(buy_out())
    done = cloudlab(home, "import", folder, "--tenant", "gifts", "--rejects", "no.csv", "--json")
    assert done.returncode == 1, done.stderr
    summary = json.loads(done.stdout)
    without = [o for o in shop.orders if o.order_number != bad and scarce.sku not in {i.sku for i in o.lines}]
    assert summary["orders_new"] == len(without)
    with (home / "no.csv").open() as source:
        refused = [tuple(row.values()) for row in csv.DictReader(source)]
    assert ("order_items.csv", str(line), "unit_price is not a decimal number: 'cheap'", rows[line - 1]) in refused
    assert [reason for file, _, reason, row in refused if (file, row) == ("orders", short)] == [
        f"{sum(i.quantity for i in shop.orders[7].lines if i.sku == scarce.sku)} of {scarce.sku} wanted, 0 in stock"
    ]
    assert summary["refused_rows"] == len(refused)


def test_a_dry_run_touches_no_server(tmp_path: Path, shop: Dataset):
    folder = write_folder(shop, tmp_path / "shop")
    done = cloudlab(tmp_path, "import", folder, "--tenant", "gifts", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["orders"], found["lines"], found["refused_rows"]) == (25, shop.line_count, 0)


def test_a_folder_that_is_none_is_a_wrong_use(home: Path):
    done = cloudlab(home, "import", "nowhere", "--tenant", "gifts", "--json")
    assert done.returncode == 2
    assert "nowhere is not a folder" in json.loads(done.stderr)["error"]["message"]
