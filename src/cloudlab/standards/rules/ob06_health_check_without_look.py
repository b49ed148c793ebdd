"""OB06: a health check says what it has looked at.

Standard: §10.1 Health Checks
"""

import re
from collections.abc import Iterator

from cloudlab.standards.catalog import Catalog
from cloudlab.standards.rule import Found, Level, Rule

_CONDITIONAL = re.compile(r"\bIF\b(?!\s+(?:NOT\s+)?EXISTS\s*;).*?\bEND\s+IF\b|\bCASE\b.*?\bEND\b", re.I | re.S)
_CONSTANT = re.compile(
    r"RETURN\s+QUERY\s+SELECT\s+'(\w+)'(?:::\w+)?\s*,\s*'(?:ok|healthy|pass|passed|green|up)'(?:::\w+)?\s*,[^;]*?;",
    re.I | re.S,
)
_LOOKS = re.compile(r"\bFROM\b|\bCASE\b|\w\(", re.I)


def _check(catalog: Catalog) -> Iterator[Found]:
    for function in catalog.functions.values():
        if "health" not in function.name and "check" not in function.name:
            continue
        for found in _CONSTANT.finditer(_CONDITIONAL.sub("", function.body)):
            if not _LOOKS.search(found[0].partition("SELECT")[2]):
                yield Found(
                    f"says that {found[1]} is well without looking",
                    function.at,
                    f"{function.name}()",
                    "Measure it, or leave it out: free space, the age of the last backup, a write that was read back.",
                )


RULE = Rule(
    id="OB06",
    title="A health check says what it has looked at",
    heading="§10.1 Health Checks",
    level=Level.WARNING,
    why="A row that is always OK is worse than none: the disk is full and the dashboard is green.",
    remedy="Measure it, or leave it out.",
    bad=(
        "CREATE FUNCTION health() RETURNS TABLE (a text, b text, c text) LANGUAGE plpgsql AS $$ BEGIN"
        " RETURN QUERY SELECT 'disk_space'::TEXT, 'OK'::TEXT, 'Disk space check passed'::TEXT; END $$;",
        "CREATE FUNCTION database_health_check() RETURNS TABLE (a text, b text, c text) LANGUAGE plpgsql AS $$ BEGIN"
        " IF EXISTS (SELECT 1 FROM pg_locks) THEN RETURN QUERY SELECT 'locks', 'WARNING', 'x'; END IF;"
        " RETURN QUERY SELECT 'connectivity', 'OK', 'Database is accessible'; END $$;",
        "CREATE FUNCTION check_all() RETURNS TABLE (a text, b text, c text) LANGUAGE plpgsql AS $$ BEGIN"
        " RETURN QUERY SELECT 'backup', 'healthy', 'fine'; END $$;",
    ),
    good=(
        "CREATE FUNCTION health() RETURNS TABLE (a text, b text, c text) LANGUAGE plpgsql AS $$ BEGIN"
        " IF EXISTS (SELECT 1 FROM t) THEN RETURN QUERY SELECT 'locks', 'WARNING', 'x';"
        " ELSE RETURN QUERY SELECT 'locks', 'OK', 'none'; END IF; END $$;",
        "CREATE FUNCTION health() RETURNS TABLE (a text, b text, c text) LANGUAGE plpgsql AS $$ BEGIN"
        " RETURN QUERY SELECT 'size', CASE WHEN pg_database_size('a') < 10 THEN 'OK' ELSE 'WARNING' END, ''; END $$;",
        "CREATE FUNCTION states() RETURNS TABLE (a text, b text, c text) LANGUAGE plpgsql AS $$ BEGIN"
        " RETURN QUERY SELECT 'x', 'OK', 'y'; END $$;",
    ),
    schema=_check,
)
