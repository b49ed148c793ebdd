"""The demo's report: short, within the terminal, exact in JSON, and safe against what names may contain."""

import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest
from rich.console import Console

from cloudlab.cli.report import DemoReport, Invariant, TenantReport, TopProduct, as_dict, render
from cloudlab.values import Money

MONTHS = [(f"2025-{month:02}", Decimal(month * 1000)) for month in range(1, 13)]
ACME = TenantReport(
    tenant_name="acme",
    placement="row",
    region="us-east-1",
    orders=19_959,
    lines=530_103,
    revenue=Money("10655622.48", "GBP"),
    orders_per_second=412.34567,
    revenue_by_month=MONTHS,
    top_products=[TopProduct(f"SKU-{n}", f"Lamp {n}", 10 * n, Decimal(f"{n}00.5")) for n in range(6, 0, -1)],
)
REPORT = DemoReport(
    tenants=[ACME, replace(ACME, tenant_name="globex", placement="schema", region="eu-west-1")],
    orders_per_second=398.25,
    cache_hit_ratio=0.93125,
    projection_lag=0,
    invariants=[
        Invariant("I1", "no tenant sees another's rows", True, "27 tables"),
        Invariant("I11", "PostgreSQL and ClickHouse agree", True, "to the penny"),
    ],
    seconds={"start": 1.62, "load": 61.03},
)


def printed(report: DemoReport, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """Return what a terminal of this width and encoding would show; an unencodable character would raise."""
    target = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    render(report, Console(file=target, width=width, force_terminal=False))
    return target.buffer.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_it_fits_its_terminal(width: int, encoding: str) -> None:
    assert max(len(line.rstrip()) for line in printed(REPORT, width, encoding)) <= width


@pytest.mark.parametrize(("width", "most"), [(80, 48), (100, 32)])
def test_it_is_short(width: int, most: int) -> None:
    assert len(printed(REPORT, width)) <= most


@pytest.mark.parametrize("width", [80, 100])
def test_the_figures_are_there(width: int) -> None:
    text = "\n".join(printed(REPORT, width))
    for figure in (
        *("19,959", "530,103", "10,655,622.48 GBP", "412", "398 orders/s in all", "cache hits 93.1 %"),
        *("projections 0 events behind", "load 61.0 s", "row, us-east-1", "schema, eu-west-1", "orders/s"),
        *("✓  I1   no tenant sees another's rows", "cloudlab status", "Green"),
        *("Lamp 6", "SKU-6", "600.50", "Lamp 2"),
    ):
        assert figure in text
    assert "Lamp 1" not in text


def test_bars_are_as_high_as_their_month() -> None:
    lines = printed(REPORT)
    top = next(n for n, line in enumerate(lines) if line.startswith("12,000"))
    columns = ["".join(line[7 + 5 * month] for line in lines[top : top + 4]) for month in range(12)]
    assert columns[11] == "████"
    assert columns[5] == "  ██"
    assert columns[0] == "   ▂"
    assert " ".join(lines[top + 4].split()) == "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"


def test_many_months_no_months_and_a_tiny_one() -> None:
    years = [(f"20{year}-{month:02}", Decimal(1)) for year in (21, 22, 23, 24) for month in range(1, 13)]
    text = "\n".join(printed(replace(REPORT, tenants=[replace(ACME, revenue_by_month=years)])))
    assert "the last 36" in text
    assert "no sales" in "\n".join(printed(replace(REPORT, tenants=[replace(ACME, revenue_by_month=[])])))
    uneven = [("2025-01", Decimal("0.01")), ("2025-02", Decimal(0)), ("2025-03", Decimal(10**9))]
    text = "\n".join(printed(replace(REPORT, tenants=[replace(ACME, revenue_by_month=uneven)])))
    assert "▁▁▁▁      ████" in text


def test_a_broken_promise_is_not_green() -> None:
    broken = Invariant("I2", "stock is never negative", False, "LAMP: ledger 3, inventory 4")
    report = replace(REPORT, invariants=[*REPORT.invariants, broken], projection_lag=12)
    text = "\n".join(printed(report, 100))
    assert not report.is_green
    assert "✗  I2   stock is never negative" in text
    assert "LAMP: ledger 3, inventory 4" in text
    assert "Not green" in text
    assert "12 events behind" in text
    assert not replace(REPORT, invariants=[]).is_green


def test_names_are_never_markup_and_never_break_the_terminal() -> None:
    hostile = TopProduct("[/]", "[bold]Pot £5 :smile: [/red]", 1, Decimal(1))
    report = replace(REPORT, tenants=[replace(ACME, tenant_name="[red]x[/]", top_products=[hostile])])
    assert "[bold]Pot £5 :smile: [/red]" in "\n".join(printed(report))
    assert "[red]x[/]" in "\n".join(printed(report))
    assert "[bold]Pot ?5 :smile: [/red]" in "\n".join(printed(report, encoding="ascii"))
    assert "BROKEN" not in "\n".join(printed(report, encoding="ascii"))


def test_refused_rows_and_an_unused_cache_are_said() -> None:
    report = replace(
        REPORT,
        tenants=[replace(ACME, rejected=1204)],
        rejects_file="rejects.csv",
        cache_hit_ratio=None,
    )
    text = "\n".join(printed(report))
    assert "1,204 rows refused, listed in rejects.csv" in text
    assert "cache hits" not in text


def test_json_carries_amounts_as_decimal_strings() -> None:
    data = json.loads(json.dumps(as_dict(REPORT)))
    acme = data["tenants"][0]
    assert acme["revenue"] == {"amount": "10655622.48", "currency": "GBP"}
    assert acme["revenue_by_month"][0] == {"month": "2025-01", "amount": "1000"}
    assert acme["top_products"][0] == {"sku": "SKU-6", "name": "Lamp 6", "quantity": 60, "revenue": "600.5"}
    assert (data["is_green"], data["orders"], data["lines"]) == (True, 39_918, 1_060_206)
    assert (data["cache_hit_ratio"], data["orders_per_second"]) == (0.9313, 398.25)
    assert data["invariants"][1] == {
        "id": "I11",
        "title": "PostgreSQL and ClickHouse agree",
        "holds": True,
        "detail": "to the penny",
    }
    assert data["seconds"] == {"start": 1.62, "load": 61.03}
    assert data["next_steps"][0]["command"] == "cloudlab status"


def test_json_never_writes_an_exponent() -> None:
    tenant = replace(ACME, revenue=Money(Decimal("1E+3"), "EUR"), revenue_by_month=[("2025-01", Decimal("1E+3"))])
    text = json.dumps(as_dict(replace(REPORT, tenants=[tenant])))
    assert '"1000"' in text
    assert "E+" not in text
