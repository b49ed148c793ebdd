"""Reading a shop from CSV files: what is right is read exactly, what is wrong is refused with its place and reason."""

import csv
import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudlab.errors import InvalidInput
from cloudlab.shop.dataset import VENDOR_NAMES, Dataset, DatasetLine, Rejected, sum_of_lines, vendor_of
from cloudlab.shop.files import read, write_rejects
from cloudlab.values import Money

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "online_retail"

GOOD = {
    "products": ["sku,name,price", "LAMP,Lamp,49.99", "MUG,Mug,2.5", "GIFT,=1+2 Gift,0"],
    "customers": ["customer_id,country,first_order_at", "7,France,2025-01-02T10:00:00Z", "8,Spain,"],
    "orders": [
        "order_number,customer_id,country,created_at,lines,total_amount,currency",
        "A1,7,France,2025-01-02T10:00:00Z,2,104.98,EUR",
        "A2,,Spain,2025-01-01T12:00:00+02:00,1,0.62,EUR",
        "A3,8,Spain,2025-01-03T00:00:00Z,1,0.00,EUR",
    ],
    "order_items": [
        "order_number,line_no,sku,quantity,unit_price",
        "A1,1,LAMP,2,49.99",
        "A1,2,MUG,2,2.50",
        "A2,1,MUG,1,0.625",
        "A3,1,GIFT,1,0",
    ],
    "credit_notes": [
        "credit_note,line_no,sku,quantity,unit_price,created_at,customer_id,country",
        "C1,1,LAMP,-1,49.99,2025-02-01T08:00:00Z,7,France",
        "C0,1,DISCOUNT,-1,5,2025-01-15T08:00:00Z,,France",
    ],
}


def write(folder: Path, changes: dict[str, list[str]] | None = None) -> Path:
    """Write the good shop, with more rows at the end of the named files."""
    for stem, rows in GOOD.items():
        added = (changes or {}).get(stem, [])
        text = "\n".join([*rows, *added]) + "\n"
        (folder / f"{stem}.csv").write_text(text, encoding="utf-8")
    return folder


def numbers(dataset: Dataset) -> list[str]:
    return [order.order_number for order in dataset.orders]


def reasons(dataset: Dataset) -> list[tuple[str, int, str]]:
    return [(each.file, each.line, each.reason) for each in dataset.rejects]


def test_a_good_folder_is_read_exactly(tmp_path: Path) -> None:
    dataset = read(write(tmp_path))
    assert dataset.rejects == ()
    assert (dataset.name, dataset.currency) == (tmp_path.name, "EUR")
    assert (dataset.order_count, dataset.line_count, dataset.revenue) == (3, 4, Decimal("105.60"))
    assert numbers(dataset) == ["A2", "A1", "A3"]
    assert dataset.orders[0].placed_at == datetime(2025, 1, 1, 10, tzinfo=UTC)
    assert [order.customer_id for order in dataset.orders] == [None, "7", "8"]
    assert dataset.orders[1].lines == (
        DatasetLine(1, "LAMP", 2, Decimal("49.99")),
        DatasetLine(2, "MUG", 2, Decimal("2.50")),
    )
    assert [(each.sku, each.price, each.stock) for each in dataset.products] == [
        ("LAMP", Money("49.99", "EUR"), 2),
        ("MUG", Money("2.5", "EUR"), 3),
        ("GIFT", Money("0", "EUR"), 1),
    ]
    assert [each.first_order_at for each in dataset.customers] == [datetime(2025, 1, 2, 10, tzinfo=UTC), None]
    assert [(each.credit_note, each.sku, each.quantity) for each in dataset.credit_lines] == [
        ("C0", "DISCOUNT", -1),
        ("C1", "LAMP", -1),
    ]


def test_a_formula_is_just_text(tmp_path: Path) -> None:
    assert read(write(tmp_path)).products[2].name == "=1+2 Gift"


def test_vendors_are_invented_but_stable(tmp_path: Path) -> None:
    assert {vendor_of(f"{number:03}") for number in range(1000)} == set(VENDOR_NAMES)
    assert vendor_of("85123A") == vendor_of("85123B") == "Greyfriar Works"
    assert [each.vendor for each in read(write(tmp_path)).products] == [vendor_of(s) for s in ("LAM", "MUG", "GIF")]


# One row of each kind, added to the good shop: its file, the row, the reason, and the orders that remain.
ALL = ["A2", "A1", "A3"]
BAD_ROWS = [
    ("orders", "A4,9,France,2025-01-02T10:00:00Z,1,1.00,EUR", "customer_id '9' is not in customers.csv", ALL),
    ("orders", "A1,7,France,2025-01-02T10:00:00Z,2,104.98,EUR", "order_number A1 stands on line 2 already", ALL),
    ("orders", ",7,France,2025-01-02T10:00:00Z,1,1.00,EUR", "order_number is empty", ALL),
    ("orders", "A4,7,France,2025-01-02T10:00:00,1,1.00,EUR", "created_at has no timezone: 2025-01-02T10:00:00", ALL),
    ("orders", "A4,7,France,yesterday,1,1.00,EUR", "created_at is not an ISO 8601 time: 'yesterday'", ALL),
    ("orders", "A4,7,France,2025-02-30T10:00:00Z,1,1.00,EUR", "created_at is not an ISO 8601 time", ALL),
    ("orders", "A4,7,France,0001-01-01T00:00:00+10:00,1,1.00,EUR", "created_at is out of range", ALL),
    ("orders", "A4,7,,2025-01-02T10:00:00Z,1,1.00,EUR", "country is empty", ALL),
    ("orders", "A4,7,France,2025-01-02T10:00:00Z,1,1.00,eur", "currency is not an ISO 4217 code: 'eur'", ALL),
    ("orders", "A4,7,France,2025-01-02T10:00:00Z,1,1.00,ZZZ", "currency is not an ISO 4217 code: 'ZZZ'", ALL),
    ("orders", "A4,7,France,2025-01-02T10:00:00Z,1,NaN,EUR", "total_amount is not a decimal number: 'NaN'", ALL),
    ("orders", "A4,7,France,2025-01-02T10:00:00Z,1,1.005,EUR", "total_amount has more decimals than EUR has", ALL),
    ("orders", "A4,7,France,2025-01-02T10:00:00Z,one,1.00,EUR", "lines is not a whole number: 'one'", ALL),
    ("orders", "A4,7,France,2025-01-02T10:00:00Z,1,1.00,EUR", "has no lines in order_items.csv", ALL),
    ("orders", "A4,7,France,2025-01-02T10:00:00Z,1,1.00", "the row has 6 fields, the header 7", ALL),
    ("orders", 'A4,7,"France,2025-01-02T10:00:00Z,1,1.00,EUR', "a quote is not closed on its line", ALL),
    ("orders", "A4,7,Fra\x00nce,2025-01-02T10:00:00Z,1,1.00,EUR", "the row holds the control character U+0000", ALL),
    ("orders", f"{'A' * 51},7,France,2025-01-02T10:00:00Z,1,1.00,EUR", "order_number is longer than 50 char", ALL),
    ("order_items", "A9,1,MUG,1,2.50", "order_number 'A9' is not in orders.csv", ALL),
    ("order_items", "A1,3,NONE,1,2.50", "sku 'NONE' is not in products.csv", ["A2", "A3"]),
    ("order_items", "A1,3,,1,2.50", "sku is empty", ["A2", "A3"]),
    ("order_items", "A1,2,MUG,1,2.50", "order A1 has a line 2 already", ["A2", "A3"]),
    ("order_items", "A1,0,MUG,1,2.50", "line_no is not positive: 0", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,0,2.50", "quantity is not positive: 0", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,-1,2.50", "quantity is not positive: -1", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,1.0,2.50", "quantity is not a whole number: '1.0'", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,\u0661,2.50", "quantity is not a whole number", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,2147483648,2.50", "quantity is beyond 2,147,483,647", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,1,-2.50", "unit_price is negative: -2.50", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,1,-0", "unit_price is negative: -0", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,1,nan", "unit_price is not a decimal number: 'nan'", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,1,1e2", "unit_price is not a decimal number: '1e2'", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,1,", "unit_price is not a decimal number: ''", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,1,2.5000000000000004", "unit_price has more than four decimals", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,1,1000000000000000", "unit_price is larger than 999,999,999,999,999", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,1", "the row has 4 fields, the header 5", ["A2", "A3"]),
    ("order_items", "A1,3,MUG,1,2.50,", "the row has 6 fields, the header 5", ["A2", "A3"]),
    ("order_items", f"A1,3,MUG,1,{'9' * 70_000}", "the row is longer than 65,536 bytes", ["A2", "A3"]),
    ("products", "MUG,Mug,2.5", "sku MUG stands here already", ALL),
    ("products", ",Mug,2.5", "sku is empty", ALL),
    ("products", "NEW,,2.5", "name is empty", ALL),
    ("products", f"NEW,{'n' * 256},2.5", "name is longer than 255 characters", ALL),
    ("products", "NEW,Mug,-2.5", "price is negative: -2.5", ALL),
    ("products", "NEW,Mug,-2.4699999999999998", "price is negative: -2.47", ALL),
    ("products", "NEW,Mug,2.50001", "price has more than four decimals: 2.50001", ALL),
    ("customers", "7,France,", "customer_id 7 stands here already", ALL),
    ("customers", "9,France,1.1.2025", "first_order_at is not an ISO 8601 time: '1.1.2025'", ALL),
    ("credit_notes", "C1,1,MUG,-1,2,2025-01-15T08:00:00Z,,France", "credit note C1 has a line 1 already", ALL),
    ("credit_notes", "C2,1,MUG,1,2,2025-01-15T08:00:00Z,,France", "quantity of a credit note is not negative: 1", ALL),
    ("credit_notes", "C2,1,MUG,-2147483647,999999999,2025-01-15T08:00:00Z,,F", "quantity x unit_price is bey", ALL),
    ("credit_notes", "C2,1,MUG,-1,2,2025-01-15,,France", "created_at has no timezone: 2025-01-15", ALL),
]  # fmt: skip


@pytest.mark.parametrize(("stem", "row", "reason", "left"), BAD_ROWS, ids=[f"{r[0]}: {r[2]}" for r in BAD_ROWS])
def test_a_bad_row_is_refused_with_its_place_and_reason(
    tmp_path: Path, stem: str, row: str, reason: str, left: list[str]
) -> None:
    dataset = read(write(tmp_path, {stem: [row]}))
    first = next(each for each in dataset.rejects if each.file == f"{stem}.csv")
    assert first.reason.startswith(reason)
    assert first.line == len(GOOD[stem]) + 1
    assert first.row.startswith(row[:3].replace("\x00", "\\x00"))
    assert numbers(dataset) == left


def test_all_bad_rows_at_once_are_each_named_and_the_good_order_survives(tmp_path: Path) -> None:
    changes: dict[str, list[str]] = {}
    for stem, row, _, _ in BAD_ROWS:
        changes.setdefault(stem, []).append(row)
    dataset = read(write(tmp_path, changes))
    refused = {(each.file, each.line) for each in dataset.rejects}
    expected = {(f"{stem}.csv", len(GOOD[stem]) + 1 + n) for stem, rows in changes.items() for n in range(len(rows))}
    assert expected <= refused
    assert refused - expected == {("orders.csv", 2)}
    assert numbers(dataset) == ["A2", "A3"]


def test_an_order_with_a_refused_line_is_refused_whole_and_says_so(tmp_path: Path) -> None:
    dataset = read(write(tmp_path, {"order_items": ["A1,3,NONE,1,1", "A1,4,MUG,x,1"]}))
    assert reasons(dataset) == [
        ("orders.csv", 2, "lines of it refused in order_items.csv: 2"),
        ("order_items.csv", 6, "sku 'NONE' is not in products.csv"),
        ("order_items.csv", 7, "quantity is not a whole number: 'x'"),
    ]
    assert dataset.products[0].stock == 0


def test_lines_of_a_refused_order_are_not_called_unknown(tmp_path: Path) -> None:
    orders = {"orders": ["A4,7,France,never,1,1.00,EUR"], "order_items": ["A4,1,MUG,1,1.00"]}
    assert [each.line for each in read(write(tmp_path, orders)).rejects] == [5]


def test_a_refused_product_takes_its_orders_with_it(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "products.csv").write_text("sku,name,price\nLAMP,Lamp,49.99\nMUG,,2.5\nGIFT,Gift,0\n", encoding="utf-8")
    dataset = read(folder)
    assert numbers(dataset) == ["A3"]
    assert ("order_items.csv", 3, "sku 'MUG' was refused in products.csv") in reasons(dataset)


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ("A4,7,France,2025-01-02T10:00:00Z,2,5.00,EUR", "lines is 2, but order_items.csv has 1"),
        ("A4,7,France,2025-01-02T10:00:00Z,1,5.01,EUR", "total_amount is 5.01, but its lines sum to 5.00"),
        ("A4,7,France,2025-01-02T10:00:00Z,1,5.00,GBP", "currency is GBP, but most of the shop's orders are in EUR"),
    ],
)
def test_an_order_must_agree_with_its_lines_and_its_shop(tmp_path: Path, order: str, reason: str) -> None:
    dataset = read(write(tmp_path, {"orders": [order], "order_items": ["A4,1,MUG,2,2.50"]}))
    assert reasons(dataset) == [("orders.csv", 5, reason)]
    assert numbers(dataset) == ALL


@pytest.mark.parametrize("total", ["0.62", "0.63"])
def test_a_total_may_be_rounded_either_way_at_half_a_minor_unit(tmp_path: Path, total: str) -> None:
    orders = {
        "orders": [f"A4,,France,2025-01-02T10:00:00Z,1,{total},EUR"],
        "order_items": ["A4,1,MUG,1,0.625"],
    }
    assert read(write(tmp_path, orders)).rejects == ()


def test_every_reason_of_an_order_is_recorded(tmp_path: Path) -> None:
    changes = {"orders": ["A4,,France,2025-01-02T10:00:00Z,3,9.99,EUR"], "order_items": ["A4,1,MUG,1,1"]}
    assert [each[2] for each in reasons(read(write(tmp_path, changes)))] == [
        "lines is 3, but order_items.csv has 1",
        "total_amount is 9.99, but its lines sum to 1",
    ]


def test_more_pieces_than_an_inventory_can_hold_are_refused(tmp_path: Path) -> None:
    changes = {
        "orders": [f"B{n},,France,2025-01-02T10:00:00Z,1,0,EUR" for n in (1, 2)],
        "order_items": [f"B{n},1,MUG,2000000000,0" for n in (1, 2)],
    }
    dataset = read(write(tmp_path, changes))
    assert reasons(dataset) == [("orders.csv", 6, "more than 2,147,483,647 pieces of MUG are ordered in all")]


def test_lines_need_not_be_sorted_and_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    folder = write(tmp_path)
    rows = [line.split(",") for line in GOOD["order_items"]]
    shuffled = [rows[0], rows[2], rows[4], rows[3], rows[1]]
    text = "".join(f"{','.join(reversed(row))},extra\r\n" for row in shuffled)
    (folder / "order_items.csv").write_text(f"\ufeff{text}\r\n", encoding="utf-8", newline="")
    assert read(folder).rejects == ()
    assert read(folder).orders == read(write(tmp_path)).orders


def test_gzip_quotes_and_unicode_are_read(tmp_path: Path) -> None:
    folder = write(tmp_path, {"products": ['"B,""1""",Pot £5 😀,1']})
    with gzip.open(folder / "products.csv.gz", "wb") as target:
        target.write((folder / "products.csv").read_bytes())
    (folder / "products.csv").unlink()
    assert [(each.sku, each.name) for each in read(folder).products][-1] == ('B,"1"', "Pot £5 😀")


def test_a_list_price_computed_in_floats_is_mended_and_counted(tmp_path: Path) -> None:
    dataset = read(write(tmp_path, {"products": ["P,Parasol,8.379999999999999", "Q,Cloth,8.405000000000001"]}))
    assert [each.price.amount for each in dataset.products[-2:]] == [Decimal("8.38"), Decimal("8.405")]
    assert (dataset.mended, dataset.rejects) == (2, ())


def test_no_orders_is_a_dataset_without_a_currency(tmp_path: Path) -> None:
    folder = write(tmp_path)
    for stem in ("orders", "order_items"):
        (folder / f"{stem}.csv").write_text(GOOD[stem][0], encoding="utf-8")
    dataset = read(folder)
    assert (dataset.orders, dataset.currency, dataset.revenue) == ((), "XXX", 0)


def test_missing_and_doubled_files_are_errors(tmp_path: Path) -> None:
    folder = write(tmp_path)
    with pytest.raises(InvalidInput, match="is not a folder"):
        read(folder / "nowhere")
    with pytest.raises(InvalidInput, match="is not a folder"):
        read(folder / "orders.csv")
    (folder / "credit_notes.csv").unlink()
    assert read(folder).credit_lines == ()
    (folder / "orders.csv.gz").touch()
    with pytest.raises(InvalidInput, match=r"holds both orders\.csv and orders\.csv\.gz"):
        read(folder)
    (folder / "orders.csv.gz").unlink()
    (folder / "customers.csv").unlink()
    with pytest.raises(InvalidInput, match=r"holds neither customers\.csv nor customers\.csv\.gz"):
        read(folder)


def test_rejects_are_written_as_csv(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    write_rejects([Rejected("orders.csv", 3, 'says "no"', "a,b\\x00,=1+2")], path)
    with path.open(encoding="utf-8", newline="") as written:
        assert list(csv.reader(written)) == [
            ["file", "line", "reason", "row"],
            ["orders.csv", "3", 'says "no"', "a,b\\x00,=1+2"],
        ]
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_rejects([], tmp_path / "no" / "such.csv")


def read_or_say(folder: Path) -> Dataset | str:
    try:
        return read(folder)
    except InvalidInput as error:
        return error.message


FIELD = st.sampled_from(["A1", "A2", "MUG", "1", "-1", "0.5", "2.50", "EUR", "", "NaN", "2025-01-02T10:00:00Z", '"'])
LINE = st.one_of(
    st.lists(st.one_of(FIELD, st.text(max_size=5)), max_size=9).map(lambda each: ",".join(each).encode()),
    st.binary(max_size=40),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stem=st.sampled_from([*GOOD]), lines=st.lists(LINE, max_size=8), header=st.booleans(), packed=st.booleans())
def test_whatever_stands_in_a_file_is_read_refused_or_an_error(
    tmp_path: Path, stem: str, lines: list[bytes], header: bool, packed: bool
) -> None:
    folder = write(tmp_path)
    (folder / f"{stem}.csv").unlink()
    content = b"\n".join([*([GOOD[stem][0].encode()] if header else []), *lines])
    path = folder / (f"{stem}.csv.gz" if packed else f"{stem}.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    result = read_or_say(folder)
    path.unlink()
    if isinstance(result, str):
        assert stem in result
    else:
        holds_together(result)
        write_rejects(result.rejects, tmp_path / "rejects.csv")


def holds_together(dataset: Dataset) -> None:
    """Everything a loader relies upon."""
    stock = {product.sku: product.stock for product in dataset.products}
    known = {customer.customer_id for customer in dataset.customers}
    for order in dataset.orders:
        assert order.lines
        assert order.customer_id is None or order.customer_id in known
        assert order.currency == dataset.currency
        assert abs(sum_of_lines(order.lines) - order.total_amount) <= Decimal("0.005")
        for line in order.lines:
            assert line.quantity > 0
            assert line.unit_price >= 0
            stock[line.sku] -= line.quantity
    assert set(stock.values()) <= {0}
    assert [each.placed_at for each in dataset.orders] == sorted(each.placed_at for each in dataset.orders)
    assert all(each.quantity < 0 for each in dataset.credit_lines)


def test_the_real_year_of_a_real_shop_is_read_to_the_penny() -> None:
    """Holds the figures its own README and profile give, recomputed in decimals."""
    if not REAL.is_dir():
        pytest.skip(f"no real data at {REAL}")
    dataset = read(REAL)
    assert dataset.rejects == ()
    assert (dataset.order_count, dataset.line_count) == (19_959, 530_103)
    assert (len(dataset.products), len(dataset.customers), dataset.currency) == (3_921, 4_338, "GBP")
    assert sum(sum_of_lines(order.lines) for order in dataset.orders) == Decimal("10655622.484")
    assert dataset.revenue == Decimal("10655622.48")
    assert len(dataset.credit_lines) == 9_288
    assert sum(each.quantity * each.unit_price for each in dataset.credit_lines) == Decimal("-896812.49")
    assert max(len(order.lines) for order in dataset.orders) == 1_114
    assert dataset.mended == 14
    holds_together(dataset)
