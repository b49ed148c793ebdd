"""Judging schemas that are alike once: what a rule says of two of them, it says of the others under their names.

Standard: §4.1 Tenant-Specific Schemas
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cloudlab.standards.catalog import Catalog, Place, Twins
from cloudlab.standards.rule import Found, Rule
from cloudlab.standards.twins import read_only

_WORD = re.compile(r"\w+")


def judged(catalog: Catalog, rules: Sequence[Rule]) -> Iterator[tuple[Rule, Found]]:
    """Yield what rules find in a schema with twins: the same that each of them finds in the whole of it."""
    # One after the other: what rules keep of a catalog, they keep of the last that they saw.
    whole = [rule for rule in rules if rule.across]
    small = read_only(catalog)
    for rule in rules:
        if rule.across:
            continue
        found = _of_all(catalog.twins, list(rule.schema(small))) if rule.schema else []
        if found is None:
            whole.append(rule)
        else:
            yield from ((rule, one) for one in found)
    for rule in whole:
        yield from ((rule, one) for one in (rule.schema(catalog) if rule.schema else ()))


@dataclass(frozen=True, slots=True)
class _Template:
    """A finding with gaps where the name of the schema stands."""

    message: tuple[str, ...]
    name: tuple[str, ...]
    remedy: tuple[str, ...]
    source: tuple[str, ...]

    def filled(self, schema: str) -> Found:
        """Return the finding of a schema."""
        at = Place(schema.join(self.source))
        return Found(schema.join(self.message), at, schema.join(self.name), schema.join(self.remedy))


def _of_all(groups: Sequence[Twins], found: list[Found]) -> list[Found] | None:
    """Return findings with those of the schemas that were not read; None where they cannot be told from two."""
    by_schema: dict[str, list[Found]] = {}
    for one in found:
        by_schema.setdefault(one.at.source.partition(".")[0], []).append(one)
    if _speaks_of_twins(groups, by_schema):
        return None
    result = list(found)
    for twins in groups:
        templates = _templates(twins, by_schema.get(twins.first, []), by_schema.get(twins.second, []))
        if templates is None:
            return None
        fill: list[Callable[[str], Found]] = [template.filled for template in templates]
        result += [filled(name) for name in twins.others for filled in fill]
    return result


def _speaks_of_twins(groups: Sequence[Twins], by_schema: Mapping[str, Sequence[Found]]) -> bool:
    """Whether what is found elsewhere names a schema that others are like: it may have to name them too."""
    read = {name for twins in groups for name in (twins.first, twins.second)}
    elsewhere = (one for schema, found in by_schema.items() if schema not in read for one in found)
    return any(read & set(_WORD.findall(f"{one.message} {one.name} {one.remedy}")) for one in elsewhere)


def _templates(twins: Twins, first: Sequence[Found], second: Sequence[Found]) -> list[_Template] | None:
    """Return what two schemas' findings have in common; None when they differ by more than the name."""
    if len(first) != len(second):
        return None
    templates = [_template(found, twins.first) for found in first]
    if templates != [_template(found, twins.second) for found in second]:
        return None
    return templates


def _template(found: Found, schema: str) -> _Template:
    texts = (found.message, found.name, found.remedy, found.at.source)
    return _Template(*(tuple(text.split(schema)) for text in texts))
