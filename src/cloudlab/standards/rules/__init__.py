"""The rules, one file each; the name of a file begins with the id of its rule."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from cloudlab.errors import NotFound
from cloudlab.standards.rule import Rule


@cache
def every() -> tuple[Rule, ...]:
    """Return all rules by id."""
    modules = (import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__))
    return tuple(sorted((module.RULE for module in modules), key=lambda rule: rule.id))


def named(rule_id: str) -> Rule:
    """Return a rule by its id, in any case.

    Raises:
        NotFound: There is none.
    """
    for rule in every():
        if rule.id == rule_id.upper():
            return rule
    raise NotFound(f"there is no rule {rule_id}", hint="`cloudlab rules` lists them.")
