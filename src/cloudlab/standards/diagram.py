"""The tables of a schema and what refers to what, as a drawing: for Mermaid, and as SVG that needs nothing else.

Standard: §11.3 Operational Excellence
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from cloudlab.standards.catalog import Catalog, Column, Constraint, Table

_CHARACTER, _ROW, _HEAD, _PAD = 7.3, 18, 24, 8
_BETWEEN, _ABOVE, _TALLEST = 90, 26, 1400
_STYLE = """
svg { font: 12px ui-monospace, Consolas, monospace; background: #fff; fill: #1c2733 }
.box { fill: #f7f9fb; stroke: #8fa1b3 } .head { fill: #dce6f0; stroke: #8fa1b3 } .name { font-weight: 700 }
.key { fill: #8a5a00 } .type { fill: #51606f } .line { fill: none; stroke: #5b7c99; stroke-width: 1.3 }
@media (prefers-color-scheme: dark) {
svg { background: #14181d; fill: #d6dee7 } .box { fill: #1b2128 } .head { fill: #2a3541 } .type { fill: #9fb0c0 }
.key { fill: #e0b356 } }
"""


def drawn(catalog: Catalog, schemas: Sequence[str] = ()) -> list[Table]:
    """Return the tables that are shown, by name: no partitions, for they are what their table is."""
    chosen = (table for table in catalog.real_tables() if not schemas or table.schema in schemas)
    return sorted(chosen, key=lambda table: table.key)


def mermaid(tables: Sequence[Table]) -> str:
    """Return an erDiagram, as GitHub and others show it in Markdown."""
    lines = ["erDiagram"]
    for table in tables:
        lines.append(f'    {_word(str(table))}["{table}"] {{')
        for column in table.columns.values():
            marks = ", ".join(_marks(table, column))
            lines.append(f"        {_word(column.type)} {_word(column.name)}{f' {marks}' if marks else ''}")
        lines.append("    }")
    for table, key, referred in _references(tables):
        optional = any(not table.columns[name].not_null for name in key.columns if name in table.columns)
        many = "||" if any(frozenset(key.columns) == one for one in table.unique_sets()) else "o{"
        ends = f"{'|o' if optional else '||'}--{many if many == 'o{' else 'o|'}"
        lines.append(f'    {_word(str(referred))} {ends} {_word(str(table))} : "{", ".join(key.columns)}"')
    return "\n".join(lines) + "\n"


def _word(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_") or "_"


def _marks(table: Table, column: Column) -> list[str]:
    kinds = {one.kind for one in table.of_kind("p", "f", "u") if column.name in one.columns}
    return [mark for kind, mark in (("p", "PK"), ("f", "FK"), ("u", "UK")) if kind in kinds]


def _references(tables: Iterable[Table]) -> Iterator[tuple[Table, Constraint, Table]]:
    known = {table.key: table for table in tables}
    for table in known.values():
        for one in sorted(table.of_kind("f"), key=lambda key: key.name):
            if one.referenced in known:
                yield table, one, known[one.referenced]


@dataclass
class _Box:
    table: Table
    x: float = 0.0
    y: float = 0.0

    @property
    def width(self) -> float:
        rows = (len(f"{one.name} {one.type}") + 5 for one in self.table.columns.values())
        return max(len(str(self.table)), *rows, 8) * _CHARACTER + 2 * _PAD

    @property
    def height(self) -> float:
        return _HEAD + _ROW * len(self.table.columns) + _PAD

    def row(self, column: str) -> float:
        """Return the middle of a column's line."""
        names = list(self.table.columns)
        return self.y + _HEAD + _ROW * ((names.index(column) if column in names else 0) + 0.5)


def svg(tables: Sequence[Table]) -> str:
    """Return the drawing: what is referred to stands left of what refers to it, single tables at the right."""
    boxes = {table.key: _Box(table) for table in tables}
    width, height = _placed(list(boxes.values()), _ranks(tables))
    lines = [_line(boxes[table.key], key, boxes[to.key]) for table, key, to in _references(tables)]
    parts = [*lines, *(_shown(box) for box in boxes.values())]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-label="Tables and their references"><style>{_STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _ranks(tables: Sequence[Table]) -> dict[tuple[str, str], int]:
    """Return how many steps each table is from one that refers to none; a circle is cut where it is entered."""
    refers: dict[tuple[str, str], list[tuple[str, str]]] = {table.key: [] for table in tables}
    referred: set[tuple[str, str]] = set()
    for table, _, to in _references(tables):
        if to.key != table.key:
            refers[table.key].append(to.key)
            referred.add(to.key)
    ranks: dict[tuple[str, str], int] = {}

    def rank(key: tuple[str, str], path: frozenset[tuple[str, str]]) -> int:
        if key not in ranks:
            steps = [rank(to, path | {key}) + 1 for to in refers[key] if to not in path]
            ranks[key] = max(steps, default=0)
        return ranks[key]

    for key in refers:
        rank(key, frozenset())
    last = max(ranks.values(), default=0) + 1
    return {key: last if not refers[key] and key not in referred else found for key, found in ranks.items()}


def _placed(boxes: Sequence[_Box], ranks: dict[tuple[str, str], int]) -> tuple[float, float]:
    """Place the boxes in columns by rank, none on another; return the size of the whole."""
    x, deepest = float(_PAD), 0.0
    for rank in sorted(set(ranks.values())):
        y, widest = float(_PAD), 0.0
        for box in (box for box in boxes if ranks[box.table.key] == rank):
            if y > _PAD and y + box.height > _TALLEST:
                x, y, widest = x + widest + _BETWEEN, float(_PAD), 0.0
            box.x, box.y = x, y
            y += box.height + _ABOVE
            widest, deepest = max(widest, box.width), max(deepest, y)
        x += widest + _BETWEEN
    return max(x - _BETWEEN + _PAD, 2 * _PAD), max(deepest, 2 * _PAD)


def _line(box: _Box, key: Constraint, to: _Box) -> str:
    begin, end = box.row(key.columns[0]), to.row(next(iter(key.referenced_columns), ""))
    left, right = box.x, to.x + to.width
    if right <= left:
        curve = f"M{left:.0f},{begin:.0f} C{left - 45:.0f},{begin:.0f} {right + 45:.0f},{end:.0f} {right:.0f},{end:.0f}"
    else:  # in the same column, or to the right: around the left sides
        out = min(left, to.x) - 30
        curve = f"M{left:.0f},{begin:.0f} C{out:.0f},{begin:.0f} {out:.0f},{end:.0f} {to.x:.0f},{end:.0f}"
    title = escape(f"{box.table}.{', '.join(key.columns)} refers to {to.table}")
    return f'<path class="line" d="{curve}"><title>{title}</title></path>'


def _shown(box: _Box) -> str:
    x, y, width = box.x, box.y, box.width
    parts = [
        f'<rect class="box" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{box.height:.0f}" rx="4"/>',
        f'<rect class="head" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{_HEAD}" rx="4"/>',
        f'<text class="name" x="{x + _PAD:.0f}" y="{y + 16:.0f}">{escape(str(box.table))}</text>',
    ]
    if box.table.comment:
        parts.append(f"<title>{escape(box.table.comment)}</title>")
    for column in box.table.columns.values():
        middle = box.row(column.name) + 4
        mark = (_marks(box.table, column) or [""])[0]
        parts.append(
            f'<text x="{x + _PAD:.0f}" y="{middle:.0f}"><tspan class="key">{mark:2}</tspan>'
            f'<tspan x="{x + _PAD + 3 * _CHARACTER:.0f}">{escape(column.name)}</tspan> '
            f'<tspan class="type">{escape(column.type)}</tspan></text>'
        )
    return f'<g class="table">{"".join(parts)}</g>'
