"""CN08: a check does not refuse addresses that exist.

Standard: §2.2 Column Constraints
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog, Constraint
from cloudlab.standards.expressions import literal, operations
from cloudlab.standards.rule import Found, Level, Rule
from cloudlab.standards.scope import owned, qualified, quoted

_VALID = ("o'neil@example.com", "ada.lovelace+shop@mail.example.co.uk", "a@example.museum", "x_1%y@example.com")


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in owned(catalog):
        for check in table.of_kind("c"):
            refused = _refused(check)
            if refused:
                yield Found(
                    f"the check refuses {refused}, which is a valid address",
                    check.at,
                    f"{table}.{check.name}",
                    f"ALTER TABLE {qualified(table)} DROP CONSTRAINT {quoted(check.name)}; and check for"
                    " '^[^@[:space:]]+@[^@[:space:]]+$'.",
                )


def _refused(check: Constraint) -> str:
    if len(check.columns) != 1 or "mail" not in check.columns[0] or check.check is None or check.check.tree is None:
        return ""
    for name, operation in operations(check.check.tree):
        pattern = literal(operation.rexpr) if name in {"~", "~*"} else None
        # What Python reads in another way than PostgreSQL is not judged.
        if pattern is None or "[[" in pattern or "[:" in pattern or r"\m" in pattern or r"\y" in pattern:
            continue
        try:
            compiled = re.compile(pattern, re.IGNORECASE if name == "~*" else 0)
        except re.error:
            continue
        return next((address for address in _VALID if not compiled.search(address)), "")
    return ""


RULE = Rule(
    id="CN08",
    title="A check does not refuse addresses that exist",
    heading="§2.2 Column Constraints",
    level=Level.WARNING,
    why="The part before the @ may hold an apostrophe and much else: o'neil cannot register, and nobody sees why.",
    remedy="Ask for one @ with something on each side, and let a mail prove the rest.",
    bad=(
        r"CREATE TABLE u (email text CHECK (email ~* '^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}$'));",
        "CREATE TABLE u (email text, CONSTRAINT c CHECK (email ~ '^[a-z.]+@[a-z.]+$'));",
        r"CREATE TABLE u (contact_email text CHECK (contact_email ~* '^\w+@\w+\.\w{2,3}$'));",
    ),
    good=(
        "CREATE TABLE u (email text CHECK (email ~ '^[^@ ]+@[^@ ]+$'));",
        "CREATE TABLE u (email text CHECK (email LIKE '%@%'));",
        "CREATE TABLE u (phone text CHECK (phone ~ '^[0-9]+$'));",
        "CREATE TABLE u (email text CHECK (email ~ '^[^@[:space:]]+@[^@[:space:]]+$'));",
    ),
    schema=_check,
)
