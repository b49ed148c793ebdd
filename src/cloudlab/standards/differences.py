"""Where two schemas differ: databases with each other, or a database and the files that should have made it.

Two databases are compared to the letter. Of files it is not known what a function of the application does to a table it
is called with, and expressions are compared by what they say, not by how a server writes them.

Standard: §6.1 Migration Tracking, §4.1 Tenant-Specific Schemas
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cloudlab.standards.alike import normal
from cloudlab.standards.catalog import Catalog, Column, Constraint, Expression, Function, Index, Table

Items = dict[tuple[str, str], dict[str, str]]
"""What a schema consists of: kind and name, and of each what can differ, in words."""

# Kept by the runner and the online operations, not by a migration.
_OURS = {"schema_migrations", "schema_migrations_before_cloudlab", "online_operations"}
_KINDS = {"p": "primary key", "u": "unique", "c": "check", "f": "foreign key", "x": "exclusion", "n": "not null"}
_SECURITY = ("row security", "grants")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that only one side has, or that differs: of `changed`, each field with both values."""

    kind: str
    name: str
    change: str
    fields: tuple[tuple[str, str, str], ...] = ()

    def __str__(self) -> str:
        if self.change != "changed":
            return f"{self.kind} {self.name}: {self.change}"
        said = "; ".join(f"{field}: {a or 'none'} → {b or 'none'}" for field, a, b in self.fields)
        return f"{self.kind} {self.name}: {said}"


def differences(before: Catalog, after: Catalog, schemas: Sequence[str] = ()) -> list[Difference]:
    """Return what would have to change in the first schema to become the second, by kind and name.

    Args:
        before: One side.
        after: The other.
        schemas: Only what is in these; by default in all.
    """
    exact = before.is_live and after.is_live
    unseen = _unseen(before) | _unseen(after) if not exact else set[str]()
    sides = [items(one, schemas, exact=exact) for one in (before, after)]
    return compare(*sides, unseen=unseen)


def compare(before: Items, after: Items, *, unseen: set[str] | frozenset[str] = frozenset()) -> list[Difference]:
    """Compare two sides that were taken apart; of the tables `unseen`, not what a function may have done to them."""
    found: list[Difference] = []
    for kind, name in sorted(before.keys() | after.keys()):
        a, b = before.get((kind, name)), after.get((kind, name))
        hidden = name in unseen or name.rpartition(".")[0] in unseen
        if a is None or b is None:
            if not (hidden and kind in {"policy", "trigger", "index", "constraint"}):
                found.append(Difference(kind, name, "missing in the first" if a is None else "missing in the second"))
            continue
        fields = [
            (field, a.get(field, ""), b.get(field, "")) for field in dict.fromkeys((*a, *b))
            if a.get(field, "") != b.get(field, "") and not (hidden and field in _SECURITY)
        ]  # fmt: skip
        if fields:
            found.append(Difference(kind, name, "changed", tuple(fields)))
    return found


def _unseen(catalog: Catalog) -> set[str]:
    return {_called(table) for table in catalog.tables.values() if table.is_opaque}


def _called(table: Table) -> str:
    return f"{table.schema}.{table.name}" if table.schema else table.name


def items(catalog: Catalog, schemas: Sequence[str] = (), *, exact: bool, plain: str = "") -> Items:
    """Take a schema apart.

    Args:
        catalog: What.
        schemas: Only these; by default all.
        exact: Expressions as they are written, and grants, partitions and bodies of views; otherwise what they say.
        plain: A schema whose name is left out everywhere, so that tenants can be compared with each other.
    """
    found: Items = {}
    write = _Writer(exact, plain)
    for table in catalog.tables.values():
        wanted = not schemas or table.schema in schemas
        if wanted and table.name not in _OURS and not table.is_temporary and (exact or not table.is_partition):
            found |= write.table(table)
    for enum in catalog.enums.values():
        if not schemas or enum.schema in schemas:
            name = write.name(enum.schema, enum.name)
            found["enum", name] = {"labels": ", ".join(enum.labels), "comment": enum.comment or ""}
    for function in catalog.functions.values():
        if not schemas or function.schema in schemas:
            found |= write.function(function)
    return found


class _Writer:
    def __init__(self, exact: bool, plain: str) -> None:
        self._exact, self._plain = exact, plain

    def name(self, schema: str, *names: str) -> str:
        return ".".join(names if schema in {"", self._plain} else (schema, *names))

    def _text(self, text: str | None) -> str:
        """Leave out the schema whose name is of no interest."""
        return (text or "").replace(f"{self._plain}.", "") if self._plain else text or ""

    def _said(self, expression: Expression | None) -> str:
        if expression is None:
            return ""
        return self._text(expression.text) if self._exact else self._text(normal(expression))

    def table(self, table: Table) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
        own = self.name(table.schema, table.name)
        yield (table.kind, own), self._own(table)
        parts: tuple[tuple[str, dict[str, dict[str, str]]], ...] = (
            ("column", {one.name: self._column(one) for one in table.columns.values()} if table.is_table else {}),
            ("constraint", {one.name: self._constraint(one) for one in table.of_kind(*"pucfx")}),
            ("index", {one.name: self._index(one) for one in table.indexes.values()}),
            ("policy", {one.name: self._policy(table, one.name) for one in table.policies.values()}),
            ("trigger", {
                one.name: {
                    "fires": " ".join([one.when, *sorted(one.events)]),
                    "function": one.function.rpartition(".")[2],
                } for one in table.triggers.values()
            }),
        )  # fmt: skip
        for kind, each in parts:
            for name, fields in each.items():
                yield (kind, f"{own}.{name}"), fields

    def _own(self, table: Table) -> dict[str, str]:
        security = [text for text, on in (("on", table.row_security), ("forced", table.force_row_security)) if on]
        key = ", ".join(one or "…" for one in table.partition_key)
        found = {
            "comment": table.comment or "",
            "partitioned by": f"{table.partition_strategy} {key}".strip(),
            "row security": " ".join(security),
            "settings": ", ".join(f"{name}={value}" for name, value in sorted(table.options.items())),
        }
        if self._exact:
            granted = (f"{role}: {', '.join(sorted(privileges))}" for role, privileges in sorted(table.grants.items()))
            found["grants"] = "; ".join(granted)
            found["query"] = self._text(table.query)
            found["partition of"] = (
                f"{self.name(*table.partition_of)} {table.partition_bound}" if table.partition_of else ""
            )
        return found

    def _column(self, one: Column) -> dict[str, str]:
        return {
            "type": self._text(one.type),
            "not null": str(one.not_null).lower(),
            "default": self._said(one.default),
            "identity": str(one.identity).lower(),
            "generated": self._said(one.generated),
            "comment": one.comment or "",
        }

    def _constraint(self, one: Constraint) -> dict[str, str]:
        referred = self.name(*one.referenced) if one.referenced else ""
        # A server sorts the columns of a CHECK by their numbers.
        columns = one.columns if self._exact or one.kind != "c" else ()
        return {
            "kind": _KINDS[one.kind],
            "columns": ", ".join(columns),
            "check": self._said(one.check),
            "refers to": f"{referred} ({', '.join(one.referenced_columns)})" if referred else "",
            "on delete": one.on_delete if one.on_delete and one.on_delete != "no action" else "",
            "valid": str(one.validated).lower(),
            "comment": one.comment or "",
        }

    def _index(self, one: Index) -> dict[str, str]:
        expressions = ", ".join(map(self._text, one.expressions)) if self._exact else str(len(one.expressions))
        return {
            "method": one.method,
            "keys": ", ".join(f"{name or '…'} {option}".strip() for name, option in _keys(one)),
            "expressions": expressions,
            "unique": str(one.unique).lower(),
            "where": self._said(one.predicate),
            "include": ", ".join(one.include),
            "valid": str(one.valid).lower(),
        }

    def _policy(self, table: Table, name: str) -> dict[str, str]:
        one = table.policies[name]
        return {
            "kind": "permissive" if one.permissive else "restrictive",
            "command": one.command,
            # In files, CURRENT_USER is whoever will run them.
            "roles": ", ".join(sorted(one.roles)) if self._exact else "",
            "using": self._said(one.using),
            "with check": self._said(one.with_check),
        }

    def function(self, one: Function) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
        name = self.name(one.schema, one.name)
        fields = {
            "language": one.language,
            "security definer": str(one.security_definer).lower(),
            "volatility": one.volatility,
            "body": self._text(one.body).strip(),
            "comment": one.comment or "",
        }
        if self._exact:
            fields["search path"] = self._text(one.search_path)
            name = f"{name}({self._text(one.arguments)})"
        else:
            given = [part for part in one.arguments.split(", ") if part and not part.startswith("OUT ")]
            name = f"{name}({len(given)} arguments)"
        yield ("function", name), fields


def _keys(one: Index) -> Iterator[tuple[str | None, str]]:
    options = (*one.options, *[""] * len(one.columns))
    return zip(one.columns, options, strict=False)


def unusual(sides: dict[str, Items]) -> dict[str, list[Difference]]:
    """Compare many schemas with what most of them have; return where each differs, without those that do not."""
    counts: dict[tuple[str, str], dict[str, int]] = {}
    values: dict[str, dict[str, str] | None] = {"": None}
    for side in sides.values():
        for key, fields in side.items():
            text = repr(fields)
            values[text] = fields
            counts.setdefault(key, {})[text] = counts.setdefault(key, {}).get(text, 0) + 1
    usual: Items = {}
    for key, each in counts.items():
        absent = len(sides) - sum(each.values())
        text, times = max(each.items(), key=lambda item: item[1])
        fields = values[text]
        if times >= absent and fields is not None:
            usual[key] = fields
    found = {name: compare(usual, side) for name, side in sides.items() if side != usual}
    return {name: each for name, each in found.items() if each}
