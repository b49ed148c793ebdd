"""The data dictionary: every table and column with its comment, keys, indexes and policies, in Markdown and HTML.

Standard: §11.3 Operational Excellence
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeVar

from cloudlab.standards import diagram
from cloudlab.standards.catalog import Catalog, Constraint, EnumType, Function, Index, Policy, Table, Trigger

T = TypeVar("T")
_KINDS = {"p": "primary key", "u": "unique", "c": "check", "f": "foreign key", "x": "exclusion", "n": "not null"}
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1c2733 }
table { border-collapse: collapse; width: 100%; margin: .6rem 0 1.4rem }
td, th { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #dde3ea }
code { font-size: .92em } h3 { margin-top: 2.2rem } .drawing { overflow-x: auto; border: 1px solid #dde3ea }
@media (prefers-color-scheme: dark) { body { background: #14181d; color: #d6dee7 }
td, th, .drawing { border-color: #2c3640 } a { color: #8ab4f8 } }
"""


@dataclass(frozen=True, slots=True)
class _Heading:
    level: int
    text: str


@dataclass(frozen=True, slots=True)
class _Words:
    text: str


@dataclass(frozen=True, slots=True)
class _Grid:
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class _Drawing:
    tables: tuple[Table, ...]


_Block = _Heading | _Words | _Grid | _Drawing


def markdown(catalog: Catalog, title: str, schemas: Sequence[str] = ()) -> str:
    """Return the dictionary in Markdown, the diagram drawn by Mermaid; text from comments stays text."""
    return "\n".join(_in_markdown(block) for block in _blocks(catalog, title, schemas))


def html(catalog: Catalog, title: str, schemas: Sequence[str] = ()) -> str:
    """Return the dictionary as one page without scripts and without anything from elsewhere."""
    body = "\n".join(_in_html(block) for block in _blocks(catalog, title, schemas))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>\n{body}\n</html>\n"
    )


def _blocks(catalog: Catalog, title: str, schemas: Sequence[str]) -> Iterator[_Block]:
    tables = diagram.drawn(catalog, schemas)
    yield _Heading(1, title)
    columns = sum(len(table.columns) for table in tables)
    undescribed = sum(not one.comment for table in tables for one in (table, *table.columns.values()))
    silent = f", {undescribed} of them without a comment" if undescribed else ", each with a comment"
    yield _Words(f"{len(tables)} tables with {columns} columns{silent}.")
    yield _Grid(("table", "what it holds"), tuple((f"[{table}]", table.comment or "") for table in tables))
    yield _Heading(2, "Diagram")
    yield _Drawing(tuple(tables))
    referring = _referring(tables)
    for schema in dict.fromkeys(table.schema for table in tables):
        comment = catalog.schemas.get(schema)
        yield _Heading(2, f"Schema {schema}")
        if comment:
            yield _Words(_text(comment))
        for table in (table for table in tables if table.schema == schema):
            yield from _table(table, referring.get(table.key, []))
    views = [one for one in catalog.tables.values() if not one.is_table and (not schemas or one.schema in schemas)]
    yield from _others(
        views,
        [one for one in catalog.enums.values() if not schemas or one.schema in schemas],
        [one for one in catalog.functions.values() if not schemas or one.schema in schemas],
    )


def _referring(tables: Iterable[Table]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for table in tables:
        for one in table.of_kind("f"):
            if one.referenced:
                found.setdefault(one.referenced, []).append(f"[{table}] ({', '.join(one.columns)})")
    return found


def _table(table: Table, referring: Sequence[str]) -> Iterator[_Block]:
    yield _Heading(3, str(table))
    about = [re.sub(r"(?<=\w)$", ".", _text(table.comment))] if table.comment else []
    if table.partition_strategy:
        key = ", ".join(f"`{one}`" if one else "an expression" for one in table.partition_key)
        about.append(f"Partitioned by {table.partition_strategy} of {key}.")
    if table.row_security:
        about.append(f"Row security is on{', for its owner too' if table.force_row_security else ''}.")
    if referring:
        about.append(f"Referred to by {', '.join(sorted(referring))}.")
    if about:
        yield _Words(" ".join(about))
    rows = tuple(
        (f"`{one.name}`", f"`{one.type}`", "" if one.not_null else "yes", _default(table, one.name), _text(one.comment))
        for one in table.columns.values()
    )
    yield _Grid(("column", "type", "may be NULL", "default", "what it is"), rows)
    keys = sorted(table.of_kind("p", "u", "c", "f", "x"), key=lambda one: ("pufcx".index(one.kind), one.name))
    parts: tuple[tuple[tuple[str, ...], list[tuple[str, ...]]], ...] = (
        (("constraint", "kind", "what it says"), [_constraint(one) for one in keys]),
        (("index", "on", "of"), [_index(one) for one in _named(table.indexes) if not one.constraint]),
        (("policy", "for", "rows"), [_policy(one) for one in _named(table.policies)]),
        (("trigger", "when", "calls"), [_trigger(one) for one in _named(table.triggers)]),
    )
    for head, found in parts:
        if found:
            yield _Grid(head, tuple(found))


def _named(found: Mapping[str, T]) -> list[T]:
    return [found[name] for name in sorted(found)]


def _default(table: Table, name: str) -> str:
    column = table.columns[name]
    if column.identity:
        return "numbered"
    if column.generated:
        return f"always {_code(column.generated.text)}"
    return _code(column.default.text) if column.default else ""


def _constraint(one: Constraint) -> tuple[str, ...]:
    said = ", ".join(f"`{name}`" for name in one.columns)
    if one.check:
        said = _code(one.check.text)
    elif one.referenced:
        to = ".".join(filter(None, one.referenced))
        deleted = f", on delete {one.on_delete}" if one.on_delete and one.on_delete != "no action" else ""
        said += f" → `{to}` ({', '.join(one.referenced_columns)}){deleted}"
    comment = f" {_text(one.comment)}" if one.comment else ""
    return f"`{one.name}`", _KINDS[one.kind], f"{said}{'' if one.validated else ' (not valid)'}{comment}"


def _index(one: Index) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" if name else _code(", ".join(one.expressions) or "…") for name in one.columns)
    where = f" where {_code(one.predicate.text)}" if one.predicate else ""
    include = f", includes {', '.join(one.include)}" if one.include else ""
    return f"`{one.name}`", f"{names}{include}{where}", f"{'unique ' if one.unique else ''}{one.method}"


def _policy(one: Policy) -> tuple[str, ...]:
    rows = " · ".join(_code(each.text) for each in (one.using, one.with_check) if each)
    kind = "" if one.permissive else "restrictive, "
    return f"`{one.name}`", f"{kind}{one.command}, {', '.join(one.roles)}", rows


def _trigger(one: Trigger) -> tuple[str, ...]:
    return f"`{one.name}`", f"{one.when} {' or '.join(sorted(one.events))}", f"`{one.function}`"


def _others(views: Sequence[Table], enums: Sequence[EnumType], functions: Sequence[Function]) -> Iterator[_Block]:
    if views:
        rows = sorted((f"`{one}`", one.kind, _text(one.comment)) for one in views)
        yield from (_Heading(2, "Views"), _Grid(("view", "kind", "what it shows"), tuple(rows)))
    if enums:
        rows = sorted(
            (f"`{one.schema}.{one.name}`", ", ".join(f"`{label}`" for label in one.labels), _text(one.comment))
            for one in enums
        )
        yield from (_Heading(2, "Enumerated types"), _Grid(("type", "values", "what it says"), tuple(rows)))
    if functions:
        rows = sorted(
            (f"`{one.schema}.{one.name}({one.arguments})`", one.language, _text(one.comment)) for one in functions
        )
        yield from (_Heading(2, "Functions"), _Grid(("function", "language", "what it does"), tuple(rows)))


def _text(text: str | None) -> str:
    return (text or "").replace("`", "'")


def _code(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`"


def _anchor(text: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


_LINK = re.compile(r"\[([^\]\s]+)\](?!\()")
_CODE = re.compile(r"(`[^`]+`)")


def _in_markdown(block: _Block) -> str:
    if isinstance(block, _Heading):
        return f"{'#' * block.level} {block.text}\n"
    if isinstance(block, _Words):
        return f"{_inline(block.text)}\n"
    if isinstance(block, _Drawing):
        return f"```mermaid\n{diagram.mermaid(block.tables)}```\n"
    lines = [" | ".join(row).join(("| ", " |")) for row in (block.head, ("---",) * len(block.head))]
    lines += [f"| {' | '.join(_inline(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in block.rows]
    return "\n".join(lines) + "\n"


def _inline(text: str) -> str:
    """Let nothing of a comment be taken for Markdown or HTML, but for our own code and links."""
    parts = _CODE.split(re.sub(r"\s*\n\s*", " ", text))
    for number in range(0, len(parts), 2):
        plain = re.sub(r"([<>*_\\])", r"\\\1", parts[number])
        parts[number] = _LINK.sub(lambda found: f"[{found[1]}](#{_anchor(found[1].replace(chr(92), ''))})", plain)
    return "".join(parts)


def _in_html(block: _Block) -> str:
    if isinstance(block, _Heading):
        return f'<h{block.level} id="{escape(_anchor(block.text))}">{escape(block.text)}</h{block.level}>'
    if isinstance(block, _Words):
        return f"<p>{_marked(block.text)}</p>"
    if isinstance(block, _Drawing):
        return f"<div class=drawing>{diagram.svg(block.tables)}</div>"
    head = "".join(f"<th>{escape(one)}" for one in block.head)
    rows = "\n".join(f"<tr>{''.join(f'<td>{_marked(cell)}' for cell in row)}" for row in block.rows)
    return f"<table><tr>{head}\n{rows}</table>"


def _marked(text: str) -> str:
    parts = _CODE.split(escape(text))
    for number, part in enumerate(parts):
        if number % 2:
            parts[number] = f"<code>{part[1:-1]}</code>"
        else:
            parts[number] = _LINK.sub(lambda found: f'<a href="#{_anchor(found[1])}">{found[1]}</a>', part)
    return "".join(parts)
