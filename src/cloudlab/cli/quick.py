"""`cloudlab check` without what takes long to load: an editor runs it at every save of a file.

The options are read by hand; whatever is not plain (help, a mistake) is left to the full command line, which knows how
to say it. `tests/standards/test_quick.py` holds the two together.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace

from cloudlab.standards import files, results
from cloudlab.standards.order import Order
from cloudlab.standards.results import Result

VALUES = {
    "--format": "style", "-f": "style", "--select": "select", "--ignore": "ignore", "--fail-on": "fail_on",
    "--baseline": "baseline", "--since": "since", "--stdin-name": "stdin_name", "--explain": "explain",
    "--fix": "fix",
}  # fmt: skip
FLAGS = {"--write-baseline": {"write_baseline": True}, "--no-cache": {"use_cache": False}, "--json": {"style": "json"}}
_LISTS = {"select", "ignore"}
_LEVELS = {"error", "warning", "note"}


def run(arguments: Sequence[str]) -> int | None:
    """Check what the arguments say and print the report; return the exit code, None when they are not plain.

    Raises:
        CloudLabError: As the full command does.
    """
    order = parse(arguments)
    if order is None:
        return None
    result = result_of(order)
    sys.stdout.write(result.text + "\n")
    return int(result.failed)


def parse(arguments: Sequence[str]) -> Order | None:
    """Return what the arguments ask for, None when they are not plain."""
    order, rest, as_json = Order(()), list(arguments), False
    while rest:
        name, is_joined, value = rest.pop(0).partition("=")
        if name in FLAGS and not is_joined:
            order, as_json = replace(order, **FLAGS[name]), as_json or name == "--json"
        elif name in VALUES and (is_joined or rest):
            field, value = VALUES[name], value if is_joined else rest.pop(0)
            order = replace(order, **{field: (*getattr(order, field), value) if field in _LISTS else value})
        elif name.startswith("-") and name != "-":
            return None
        else:
            order = replace(order, targets=(*order.targets, f"{name}{is_joined}{value}"))
    if not order.targets or order.fail_on not in _LEVELS:
        return None
    return replace(order, style="json") if as_json else order


def result_of(order: Order) -> Result:
    """Return a result that was kept, or load the rules and ask them.

    Raises:
        CloudLabError: As `running.run` does, and NotFound when there is no such file.
    """
    keeps = results.can_be_kept(order)
    sources = files.read(order.targets, sys.stdin, order.stdin_name)
    key = results.name(order, sources) if keeps else ""
    result = results.find(key) if keeps else None
    if result is None:
        from cloudlab.standards import running  # noqa: PLC0415  a result that was kept needs no rules

        result = running.run(order, sources)
        if keeps:
            results.keep(key, result)
    return result
