"""Every rule reports its bad examples and leaves its good ones alone; the examples are what its page shows.

Standard: §11 Best Practices
"""

import re
import sys

import pytest

from cloudlab.standards import checking, poolers
from cloudlab.standards.catalog import Catalog
from cloudlab.standards.folding import fold
from cloudlab.standards.rule import Finding, Rule
from cloudlab.standards.rules import every
from cloudlab.standards.scripts import Script

RULES = [rule for rule in every() if (rule.schema or rule.step or rule.files or rule.query) and not rule.asks]
POOLERS = [rule for rule in every() if rule.pooler]
MANY = 3


def file(text: str, number: int) -> Script:
    """Make the file of an example, which may say its name in its first line."""
    named = re.match(r"-- file: (\S+)\n", text)
    return Script(named[1], text[named.end() :], number=number) if named else Script("example.sql", text, number=number)


def judged(rule: Rule, sql: str) -> list[Finding]:
    """Judge an example by one rule, in every way the rule has."""
    scripts = [file(text, number) for number, text in enumerate(sql.split("\n-- next file\n"), 1)]
    statements = [statement for script in scripts for statement in script.statements]
    assert all(not statement.problem for statement in statements), [one.problem for one in statements]
    catalog = Catalog()
    findings = list(checking.of_migrations(scripts, catalog, [rule]))
    findings += checking.of_order(scripts, [rule])
    findings += checking.of_schema(catalog, [rule])
    before = Catalog()
    queries = []
    for statement in statements:
        if statement.kind in checking.QUERIES:
            queries.append(statement)
        else:
            fold(before, statement, 1)
    return findings + list(checking.of_queries(queries, before, [rule]))


@pytest.mark.parametrize("rule", every(), ids=lambda rule: rule.id)
def test_a_rule_says_all_that_its_page_needs(rule: Rule):
    assert re.fullmatch(r"[A-Z]{2}\d\d", rule.id)
    module = next(module for module in sys.modules.values() if getattr(module, "RULE", None) is rule)
    assert f"Standard: {rule.heading}\n" in (module.__doc__ or "")
    assert module.__name__.rpartition(".")[2].startswith(f"{rule.id.lower()}_")
    assert rule.why.endswith(".")
    assert rule.remedy.endswith((".", ";", ")"))
    assert any((rule.schema, rule.step, rule.files, rule.deployed, rule.query, rule.server, rule.fleet, rule.pooler))
    assert rule.server or rule.fleet or (len(rule.bad) >= MANY and len(rule.good) >= MANY)


@pytest.mark.parametrize(
    ("rule", "sql"), [(rule, sql) for rule in RULES for sql in rule.bad], ids=lambda one: getattr(one, "id", None)
)
def test_a_bad_example_is_reported(rule: Rule, sql: str):
    assert {finding.rule.id for finding in judged(rule, sql)} == {rule.id}


@pytest.mark.parametrize(
    ("rule", "sql"), [(rule, sql) for rule in RULES for sql in rule.good], ids=lambda one: getattr(one, "id", None)
)
def test_a_good_example_is_left_alone(rule: Rule, sql: str):
    assert judged(rule, sql) == []


@pytest.mark.parametrize("rule", POOLERS, ids=lambda rule: rule.id)
def test_a_rule_for_poolers_knows_its_examples(rule: Rule):
    for text in rule.bad:
        assert list(checking.of_pooler(poolers.parse(text), [rule])), text
    for text in rule.good:
        assert list(checking.of_pooler(poolers.parse(text), [rule])) == [], text
