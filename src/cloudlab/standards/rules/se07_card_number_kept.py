"""SE07: card numbers are kept by the payment provider and not here.

Standard: §9.1 Encryption at Rest
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule

_CARD = re.compile(
    r"(?:^|_)(?:credit_?card|debit_?card|card|cc)_?(?:number|num|no)(?:$|_)|^(?:pan|cvv2?|cvc2?)$|_(?:cvv|cvc)$"
)
_OTHER = re.compile(
    r"gift|loyalty|member|library|sim_|student|health|insurance|id_card|business|report|token|last|mask|hash"
)
_TEXT = {"text", "character varying", "character", "bytea", "bigint", "numeric", "json", "jsonb"}


def _check(catalog: Catalog) -> Iterator[Found]:
    for table in catalog.real_tables():
        for column in table.columns.values():
            if _CARD.search(column.name) and column.base_type in _TEXT and not _OTHER.search(column.name):
                code = re.search(r"cvv|cvc", column.name)
                what = "may not be kept at all once a payment is authorised" if code else "brings the database, its " \
                    "backups and all who read it into the scope of PCI DSS, encrypted or not"  # fmt: skip
                yield Found(
                    f"a {'security code' if code else 'card number'} {what}", column.at, f"{table}.{column.name}"
                )


RULE = Rule(
    id="SE07",
    title="Card numbers are kept by the payment provider",
    heading="§9.1 Encryption at Rest",
    level=Level.WARNING,
    why="Whoever stores a card number, encrypted or not, answers for it under PCI DSS. A token of the provider charges "
    "the card as well, and the last four digits show which it is.",
    remedy="Keep provider_token and card_last_four instead.",
    bad=(
        "CREATE TABLE m (id uuid PRIMARY KEY, encrypted_card_number text NOT NULL, card_last_four varchar(4));",
        "CREATE TABLE m (id uuid PRIMARY KEY, credit_card_number varchar(19));",
        "CREATE TABLE m (id uuid PRIMARY KEY, cvv char(3));",
    ),
    good=(
        "CREATE TABLE m (id uuid PRIMARY KEY, provider_token text, card_last_four varchar(4), card_type text);",
        "CREATE TABLE g (id uuid PRIMARY KEY, gift_card_number text, loyalty_card_number text);",
        "CREATE TABLE b (id uuid PRIMARY KEY, card_number integer, board text);",
        "CREATE TABLE m (id uuid PRIMARY KEY, card_number_hash bytea, card_number_token text, span text,"
        " company text);",
    ),
    schema=_check,
)
