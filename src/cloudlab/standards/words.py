"""What names say: their words, the type they promise, and whether they speak of money.

Standard: §2.1 Naming Conventions
"""

import re
from collections.abc import Iterable
from functools import cache

# Words that PostgreSQL takes for a name only in quotes: "reserved" and "reserved (can be function or type)".
RESERVED = frozenset(
    re.findall(
        r"\w+",
        """
        all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate
        collation column concurrently constraint create cross current_catalog current_date current_role
        current_schema current_time current_timestamp current_user default deferrable desc distinct do else end
        except false fetch for foreign freeze from full grant group having ilike in initially inner intersect into
        is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null offset on
        only or order outer overlaps placing primary references returning right select session_user similar some
        symmetric system_user table tablesample then to trailing true union unique user using variadic verbose when
        where window with
        """,
    )
)
_MONEY = frozenset({"price", "fee", "salary", "wage", "payout", "subtotal", "revenue", "refund", "invoiced"})
_MONEY_IN_CONTEXT = frozenset({"amount", "balance", "total", "cost", "tax", "discount", "commission", "deposit"})
_NO_MONEY = frozenset(
    re.findall(
        r"\w+",
        """
        rate ratio percent percentage pct factor score weight count quantity qty id ids type kind name code currency
        status at on date days points credits tokens hash key url index level tier plan label text description is
        has bytes size time seconds ms duration distance words steps
        """,
    )
)
_COMMERCE = re.compile(
    r"order|payment|invoice|transaction|account|wallet|subscription|pric|bill|ledger|refund|cart|charge|payout|purchase"
    r"|sale|product|coupon|fee|cost|deposit|budget|quote|shop"
)


@cache
def tokens(name: str) -> tuple[str, ...]:
    """Return the words of a name in snake_case or camelCase, in lower case."""
    return tuple(word for word in re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().split("_") if word)


def is_money(table: str, column: str, neighbours: Iterable[str] = ()) -> bool:
    """Whether a column of numbers holds money, as far as its name, its table and its neighbours tell."""
    words = list(tokens(column))
    if not words or _NO_MONEY & set(words):
        return False
    if words[-1] in _MONEY or (len(words) > 1 and words[-1] in _MONEY_IN_CONTEXT and words[0] in _MONEY):
        return True
    has_currency = any("currency" in tokens(name) for name in neighbours)
    return words[-1] in _MONEY_IN_CONTEXT and bool(has_currency or _COMMERCE.search(table.lower()))


@cache
def singular(name: str) -> str:
    """Return one of what a table holds: categories → category, addresses → address, users → user."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("uses", "us")):
        if name.endswith(ending) and len(name) > len(ending) + 1:
            return name[: -len(ending)] + instead
    return name[:-1] if name.endswith("s") and not name.endswith(("ss", "us", "is")) else name


def is_snake_case(name: str) -> bool:
    """Whether a name needs no quotes for its letters."""
    return bool(re.fullmatch(r"[a-z_][a-z0-9_]*", name))
