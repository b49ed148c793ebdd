"""RT03: rows are archived by families, in batches, and column by column.

Standard: §8.1 Business Rule Compliance
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule

_MOVES = re.compile(
    r"insert\s+into\s+([\w.\"]+)\s+select\s+\*\s+from\s+([\w.\"]+)[^;]*;(?:(?!insert\s).)*?delete\s+from\s+\2\b([^;]*);",
    re.IGNORECASE | re.DOTALL,
)


def _check(catalog: Catalog) -> Iterator[Found]:
    for function in catalog.functions.values():
        # What is written between the two, such as comments, is of no matter.
        body = re.sub(r"--[^\n]*", "", function.body)
        for move in _MOVES.finditer(body):
            target, source = move[1], move[2]
            if "limit" in move[0].lower():
                continue
            table = catalog.find("", source.rpartition(".")[2])
            children = sorted(
                {str(other) for other in catalog.tables.values() for key in other.of_kind("f")
                 if table and key.referenced == table.key and key.on_delete == "cascade"}
            )  # fmt: skip
            lost = f", and takes the rows of {', '.join(children)} along" if children else ""
            yield Found(
                f"copies {source} to {target} by SELECT *, then deletes all of it at once{lost}",
                function.at,
                f"{function.name}({function.arguments})",
                "Children first, named columns, DELETE … RETURNING in batches, or detach whole partitions.",
            )


_BODY = "INSERT INTO orders_archive SELECT * FROM orders WHERE at < now(); DELETE FROM orders WHERE at < now();"

RULE = Rule(
    id="RT03",
    title="Rows are archived by families, in batches, and column by column",
    heading="§8.1 Business Rule Compliance",
    level=Level.WARNING,
    why="The two statements see different rows, the DELETE cascades to children that were never copied, a column"
    " added on"
    " one side breaks it, and all of it is one transaction that vacuum waits for.",
    remedy="Children first; WITH gone AS (DELETE … RETURNING …) INSERT …, so many rows at a time; or detach"
    " partitions.",
    bad=(
        f"CREATE FUNCTION archive() RETURNS void LANGUAGE plpgsql AS 'BEGIN {_BODY} END';",
        f"CREATE PROCEDURE archive() LANGUAGE sql AS '{_BODY}';",
        f"CREATE TABLE orders (o uuid PRIMARY KEY); CREATE TABLE items (o uuid REFERENCES orders ON DELETE CASCADE);"
        f" CREATE FUNCTION archive() RETURNS void LANGUAGE plpgsql AS 'BEGIN {_BODY} END';",
    ),
    good=(
        "CREATE FUNCTION archive() RETURNS void LANGUAGE sql AS 'WITH gone AS (DELETE FROM orders WHERE at < now()"
        " RETURNING o, at) INSERT INTO orders_archive (o, at) SELECT o, at FROM gone;';",
        "CREATE FUNCTION copy() RETURNS void LANGUAGE sql AS 'INSERT INTO a SELECT * FROM b;';",
        "CREATE FUNCTION move() RETURNS void LANGUAGE plpgsql AS 'BEGIN INSERT INTO a SELECT * FROM b ORDER BY n"
        " LIMIT 9;"
        " DELETE FROM b WHERE n IN (SELECT n FROM a); END';",
    ),
    schema=_check,
    across=True,
)
