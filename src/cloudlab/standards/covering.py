"""What an index is good for: which columns it finds, and which other index does the same.

Standard: §5.1 Primary Indexes
"""

from cloudlab.standards.catalog import Index, Table
from cloudlab.standards.expressions import columns


def covers(index: Index, names: tuple[str, ...]) -> bool:
    """Whether an index finds the rows that refer by these columns: they lead it, and no row is left out."""
    leading = index.columns[: len(names)]
    return index.valid and index.method in {"btree", "hash"} and set(leading) == set(names) and is_whole(index, names)


def is_whole(index: Index, names: tuple[str, ...]) -> bool:
    """Whether all rows are in it in which none of these columns is null."""
    if index.predicate is None:
        return True
    tree = index.predicate.tree
    if tree is None or "IS NOT NULL" not in index.predicate.text.upper():
        return False
    return set(columns(tree)) <= set(names) and " OR " not in index.predicate.text.upper()


def serves_for(index: Index, other: Index) -> bool:
    """Whether an index does all that another one does: its keys begin with the other's, on the same rows."""
    if (
        index.columns[:1] != other.columns[:1]
        or index.method != other.method
        or not index.valid
        or predicate(index) != predicate(other)
    ):
        return False
    if other.unique and not (index.unique and len(keys(index)) == len(keys(other))):
        return False
    mine, its = keys(index), keys(other)
    if index.method != "btree":
        return mine == its and set(other.include) <= {*index.include}
    if mine[: len(its)] != its and not _is_reverse(mine[: len(its)], its):
        return False
    return set(other.include) <= {*index.include, *(name for name in index.columns if name)}


def keys(index: Index) -> list[tuple[str, str]]:
    """Return what each key is and how it is ordered."""
    expressions = iter(index.expressions)
    names = [name or f"({next(expressions, '?').replace('::text', '').strip('()')})" for name in index.columns]
    options = [*index.options, *[""] * len(names)]
    return list(zip(names, options, strict=False))


def quoted_keys(index: Index) -> str:
    """Write the keys of an index as they must stand in SQL."""
    return ", ".join(f"{name} {option}".strip() for name, option in keys(index))


def predicate(index: Index) -> str:
    """Return the condition of a partial index as text, empty for a whole one."""
    return index.predicate.text.strip("()").lower() if index.predicate else ""


def _is_reverse(some: list[tuple[str, str]], others: list[tuple[str, str]]) -> bool:
    """Whether one order is the other read backwards."""
    turned = [(name, {"": "desc", "desc": ""}.get(option, "?")) for name, option in some]
    return turned == others


def indexes_of(table: Table) -> list[Index]:
    """Return the indexes of a table, those of constraints first, then the widest."""
    return sorted(table.indexes.values(), key=lambda one: (one.constraint is None, -len(one.columns), one.name))
