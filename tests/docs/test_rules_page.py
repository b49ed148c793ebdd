"""Every rule of the checker has its section on the page of rules.

Standard: §11.3 Operational Excellence
"""

from pathlib import Path

import pytest

from cloudlab.standards import checking, suppressing
from cloudlab.standards.rule import Rule
from cloudlab.standards.rules import every

PAGE = (Path(__file__).parents[2] / "docs/reference/rules.md").read_text()


@pytest.mark.parametrize(
    "rule", [*every(), *suppressing.RULES, checking.SYNTAX, checking.FOREIGN], ids=lambda rule: rule.id
)
def test_a_rule_is_on_the_page_with_its_reason_and_its_examples(rule: Rule):
    section = PAGE.partition(f"\n## {rule.id} {rule.title}\n")[2].partition("\n## ")[0]
    assert rule.heading in section
    assert rule.why in section
    assert all(example in section for example in (*rule.bad, *rule.good))
