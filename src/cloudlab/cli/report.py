"""The report of `cloudlab demo`: what was done, how fast, what sold, and whether the promises hold.

Only rendering; the figures are gathered elsewhere. Names in the data are printed as they are, never as
markup, and a terminal without Unicode gets ASCII.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cloudlab.values import Money

_LONGEST_TENANT = 15
_CHART_ROWS = 4
_CHART_MONTHS = 36
_SIDE_BY_SIDE_COLUMNS = 96
_BLOCKS = " ▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = " ...::++#"
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class TopProduct(NamedTuple):
    """A product and what it sold; `revenue` is in the tenant's currency."""

    sku: str
    name: str
    quantity: int
    revenue: Decimal


class Invariant(NamedTuple):
    """A promise of the design and whether it held; `detail` says what was compared, or what differs."""

    id: str
    title: str
    holds: bool
    detail: str


class NextStep(NamedTuple):
    """A command to try, and what for."""

    command: str
    purpose: str


NEXT_STEPS = (
    NextStep("cloudlab status", "what runs where"),
    NextStep("cloudlab event tail", "what happened last"),
    NextStep("cloudlab demo --data DIR", "the same with your own orders"),
    NextStep("cloudlab down", "stop everything, keep the data"),
)


@dataclass(frozen=True, slots=True)
class TenantReport:
    """One tenant's shop.

    `revenue_by_month` holds (YYYY-MM, amount in the revenue's currency), ascending. `rejected` counts the
    rows of its files that were refused.
    """

    tenant_name: str
    placement: str
    region: str
    orders: int
    lines: int
    revenue: Money
    orders_per_second: float
    revenue_by_month: Sequence[tuple[str, Decimal]]
    top_products: Sequence[TopProduct]
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class DemoReport:
    """Everything `cloudlab demo` has to say.

    `orders_per_second` is over all tenants; `cache_hit_ratio` is from 0 to 1, None if nothing was read
    through the cache; `projection_lag` is in events; `seconds` are by phase, in the order of the phases.
    """

    tenants: Sequence[TenantReport]
    orders_per_second: float
    cache_hit_ratio: float | None
    projection_lag: int
    invariants: Sequence[Invariant]
    seconds: dict[str, float]
    rejects_file: str | None = None
    next_steps: Sequence[NextStep] = field(default=NEXT_STEPS)

    @property
    def is_green(self) -> bool:
        """Return whether every invariant that was checked holds, and at least one was."""
        return bool(self.invariants) and all(each.holds for each in self.invariants)


def as_dict(report: DemoReport) -> dict[str, object]:
    """Return the report for --json: amounts as decimal strings, ratios and rates rounded to four decimals."""
    ratio = report.cache_hit_ratio
    return {
        "is_green": report.is_green,
        "tenants": [_tenant_as_dict(tenant) for tenant in report.tenants],
        "orders": sum(tenant.orders for tenant in report.tenants),
        "lines": sum(tenant.lines for tenant in report.tenants),
        "orders_per_second": round(report.orders_per_second, 4),
        "cache_hit_ratio": None if ratio is None else round(ratio, 4),
        "projection_lag": report.projection_lag,
        "invariants": [each._asdict() for each in report.invariants],
        "seconds": {phase: round(seconds, 4) for phase, seconds in report.seconds.items()},
        "rejects_file": report.rejects_file,
        "next_steps": [each._asdict() for each in report.next_steps],
    }


def _tenant_as_dict(tenant: TenantReport) -> dict[str, object]:
    return {
        "tenant_name": tenant.tenant_name,
        "placement": tenant.placement,
        "region": tenant.region,
        "orders": tenant.orders,
        "lines": tenant.lines,
        "revenue": {"amount": f"{tenant.revenue.amount:f}", "currency": tenant.revenue.currency},
        "orders_per_second": round(tenant.orders_per_second, 4),
        "revenue_by_month": [{"month": month, "amount": f"{amount:f}"} for month, amount in tenant.revenue_by_month],
        "top_products": [
            {"sku": each.sku, "name": each.name, "quantity": each.quantity, "revenue": f"{each.revenue:f}"}
            for each in tenant.top_products
        ],
        "rejected": tenant.rejected,
    }


def render(report: DemoReport, console: Console) -> None:
    """Print the report, made for 80 columns and more; from 96 on, plots and tables stand side by side."""
    pen = _Pen(console.width, console.options.ascii_only)
    for part in pen.parts(report):
        console.print(part)
        console.print()


@dataclass(frozen=True, slots=True)
class _Pen:
    """What the terminal can show."""

    columns: int
    ascii_only: bool

    def text(self, words: str, style: str = "") -> Text:
        """Return words that came from outside, to be shown as they are: one line, no markup."""
        shown = words.encode("ascii", "replace").decode() if self.ascii_only else words
        return Text(shown, style, no_wrap=True, overflow="crop" if self.ascii_only else "ellipsis")

    def joined(self, words: Sequence[str]) -> Text:
        return self.text((" | " if self.ascii_only else " · ").join(words))

    def table(self, *headings: str) -> Table:
        """Return a table whose columns take one line; those with a + before their name hold numbers."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        overflow = "crop" if self.ascii_only else "ellipsis"
        for heading in headings:
            justify = "right" if heading.startswith("+") else "left"
            table.add_column(heading.lstrip("+"), justify=justify, no_wrap=True, overflow=overflow)
        return table

    def parts(self, report: DemoReport) -> Iterator[RenderableType]:
        yield self.headline(report)
        for tenant in report.tenants:
            yield self.tenant(tenant)
        yield self.invariants(report)
        yield Group(*self.next_steps(report))

    def headline(self, report: DemoReport) -> RenderableType:
        table = self.table("tenant", "placement, region", "+orders", "+lines", "+revenue", "+orders/s")
        for tenant in report.tenants:
            name = self.text(tenant.tenant_name, "bold")
            name.truncate(_LONGEST_TENANT)
            table.add_row(
                name,
                self.text(f"{tenant.placement}, {tenant.region}"),
                f"{tenant.orders:,}",
                f"{tenant.lines:,}",
                str(tenant.revenue),
                f"{tenant.orders_per_second:,.0f}" if tenant.orders_per_second else "-",
            )
        hits = report.cache_hit_ratio
        facts = [f"{report.orders_per_second:,.0f} orders/s in all"] if report.orders_per_second else []
        facts += [] if hits is None else [f"cache hits {hits * 100:.1f} %"]
        facts += [f"projections {report.projection_lag:,} events behind"]
        phases = [f"{phase} {seconds:.1f} s" for phase, seconds in report.seconds.items()]
        return Group(table, Text(), self.joined(facts), self.joined(phases), *self.refused(report))

    def refused(self, report: DemoReport) -> list[Text]:
        rejected = sum(tenant.rejected for tenant in report.tenants)
        if not rejected:
            return []
        where = f", listed in {report.rejects_file}" if report.rejects_file else ""
        text = self.text(f"{rejected:,} rows refused{where}", "yellow")
        text.no_wrap = False
        return [text]

    def tenant(self, tenant: TenantReport) -> RenderableType:
        beside = self.columns >= _SIDE_BY_SIDE_COLUMNS
        chart = self.chart(tenant, self.columns // 2 - 2 if beside else self.columns)
        top = self.top(tenant)
        if not beside:
            return Group(chart, Text(), top)
        grid = Table.grid(expand=True, padding=(0, 2))
        grid.add_column(width=self.columns // 2 - 2)
        grid.add_column(ratio=1)
        grid.add_row(chart, top)
        return grid

    def chart(self, tenant: TenantReport, columns: int) -> RenderableType:
        """Draw a bar per month, four rows high, in eighths of a row."""
        months = tenant.revenue_by_month[-_CHART_MONTHS:]
        title = Text.assemble(self.text(tenant.tenant_name, "bold"), f" revenue by month, {tenant.revenue.currency}")
        if len(months) < len(tenant.revenue_by_month):
            title.append(f", the last {len(months)}")
        highest = max((amount for _, amount in months), default=Decimal(0))
        if highest <= 0:
            return Group(title, Text("no sales", "dim"))
        label = f"{highest:,.0f} "
        width = min(5, max(1, (columns - len(label)) // len(months)))
        heights = [_eighths(amount, highest) for _, amount in months]
        lines = [title]
        for row in reversed(range(_CHART_ROWS)):
            bars = (self.bar(height - 8 * row, width) for height in heights)
            axis = label if row == _CHART_ROWS - 1 else " " * len(label)
            lines.append(Text.assemble((axis, "dim"), ("".join(bars), "cyan"), no_wrap=True, overflow="crop"))
        names = "".join(_month_label(month, width) for month, _ in months)
        lines.append(Text(" " * len(label) + names, "dim", no_wrap=True, overflow="crop"))
        return Group(*lines)

    def bar(self, eighths: int, width: int) -> str:
        block = (_ASCII_BLOCKS if self.ascii_only else _BLOCKS)[min(8, max(0, eighths))]
        return block * max(1, width - 1) + " " * (width > 1)

    def top(self, tenant: TenantReport) -> RenderableType:
        table = self.table("top products", "SKU", "+pieces", "+revenue")
        table.expand = True
        table.columns[0].ratio = 1
        table.columns[1].max_width = 14
        for each in tenant.top_products[:5]:
            name, sku = self.text(each.name), self.text(each.sku, "dim")
            table.add_row(name, sku, f"{each.quantity:,}", f"{each.revenue:,.2f}")
        return table

    def invariants(self, report: DemoReport) -> RenderableType:
        table = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(3):
            table.add_column(no_wrap=True)
        table.add_column(style="dim")
        good, bad = ("ok", "BROKEN") if self.ascii_only else ("✓", "✗")
        for each in report.invariants:
            mark = self.text(good, "green") if each.holds else self.text(bad, "bold red")
            # What was compared is for machines; people need it when it differs.
            detail = self.text("" if each.holds else each.detail, "red")
            detail.no_wrap = False
            table.add_row(mark, self.text(each.id, "bold"), self.text(each.title), detail)
        return table

    def next_steps(self, report: DemoReport) -> Iterator[RenderableType]:
        if report.is_green:
            yield Text("Green: every promise that was checked holds. Where to go next:", "bold green")
        else:
            yield Text("Not green: see above. Run `cloudlab doctor`, and keep the evidence.", "bold red")
        table = Table.grid(padding=(0, 2, 0, 0))
        for step in report.next_steps:
            table.add_row(self.text(f"  {step.command}", "bold"), self.text(step.purpose))
        yield table


def _eighths(amount: Decimal, highest: Decimal) -> int:
    """Return a bar's height in eighths of a row, at least one for any sale at all."""
    height = int(amount * _CHART_ROWS * 8 / highest)
    return max(1, height) if amount > 0 else 0


def _month_label(month: str, width: int) -> str:
    name = _MONTHS[int(month[5:7]) - 1]
    return name[: 3 if width > 3 else 1].ljust(width)
