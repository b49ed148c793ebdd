"""Folding what is not said in plain statements: blocks of DO, and options of storage.

What a block does to a table cannot be seen; it is said to be so of every table that the block names, and of all where
it asks the catalogs for their names.
"""

import re

from postgast import pg_query_pb2 as pb

from cloudlab.standards.catalog import Table
from cloudlab.standards.expressions import option_value, strings
from cloudlab.standards.folding_tables import Fold
from cloudlab.standards.trees import words

_ASKS_FOR_NAMES = {"pg_tables", "pg_class", "information_schema", "regclass"}
_PROTECTS = re.compile(r"row\s+level\s+security|create\s+policy|\bgrant\b|create\s+trigger", re.IGNORECASE)


def block(it: Fold, node: pb.DoStmt) -> None:
    """DO: what it makes of policies, grants and triggers is not known."""
    text = "\n".join("\n".join(strings([one.def_elem.arg])) for one in node.args)
    if not _PROTECTS.search(text):
        return
    named = words(text)
    for table in it.catalog.tables.values():
        if table.name in named or named & _ASKS_FOR_NAMES:
            table.is_opaque = True


def set_options(table: Table, command: pb.AlterTableCmd) -> None:
    """SET (fillfactor = 50), RESET (fillfactor)."""
    for one in getattr(command, "def").list.items:
        option = one.def_elem
        if command.subtype == pb.AT_ResetRelOptions:
            table.options.pop(option.defname, None)
        else:
            table.options[option.defname] = option_value(option)
