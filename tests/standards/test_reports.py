"""Findings say the same in every format that people and machines read.

Standard: §11.3 Operational Excellence
"""

import json
from collections.abc import Sequence
from xml.etree import ElementTree

from cloudlab.standards import checking, report
from cloudlab.standards.rule import Finding
from cloudlab.standards.rules import named
from cloudlab.standards.scripts import Script

SQL = "-- 100 %, of it\n  CREATE INDEX idx_users_email ON users (email);\nDROP INDEX gone;\n"


def findings(path: str = "a,b/9.sql") -> Sequence[Finding]:
    rules = [named("LK05"), named("LK07")]
    return checking.by_place(checking.of_files([Script(path, SQL, 1)], rules=rules))


def test_text_shows_the_line_and_a_caret_below_the_statement():
    lines = report.as_text(findings()).splitlines()
    assert lines[0].startswith("a,b/9.sql:2:3: error LK05: idx_users_email: keeps everybody from writing")
    assert lines[1:3] == ["    CREATE INDEX idx_users_email ON users (email);", "    ^"]
    assert lines[3].startswith("  remedy: CREATE INDEX CONCURRENTLY")
    assert lines[-1] == "1 error, 1 warning"
    assert report.as_text([]) == "nothing found"


def test_json_has_one_finding_on_each_line():
    text = report.FORMATS["json"](findings())
    first, second = json.loads(text)["findings"]
    assert (first["rule"], first["line"], first["column"], first["level"]) == ("LK05", 2, 3, "error")
    assert second["rule"] == "LK07"
    assert len(text.splitlines()) == 4
    assert json.loads(report.FORMATS["json"]([])) == {"findings": []}


def test_sarif_describes_each_rule_and_places_each_result():
    run = json.loads(report.FORMATS["sarif"](findings()))["runs"][0]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["LK05", "LK07"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "a,b/9.sql"
    assert place["region"] == {"startLine": 2, "startColumn": 3}
    assert [result["level"] for result in run["results"]] == ["error", "warning"]


def test_annotations_escape_what_has_a_meaning_there():
    first = report.FORMATS["github"](findings()).splitlines()[0]
    assert first.startswith("::error file=a%2Cb/9.sql,line=2,col=3,title=LK05 An index on a table in use is built")
    assert "::keeps everybody" in first


def test_junit_has_a_failure_for_each_finding_of_a_file():
    suite = ElementTree.fromstring(report.FORMATS["junit"](findings()))[0]  # noqa: S314  it is our own
    assert (suite.get("tests"), suite.get("failures")) == ("1", "2")
    assert [failure.get("type") for failure in suite[0]] == ["LK05", "LK07"]


def test_a_page_quotes_what_it_shows():
    page = report.FORMATS["html"](findings("<script>.sql"))
    assert "<script>" not in page
    assert "&lt;script&gt;.sql" in page


def test_a_rule_that_is_mended_once_for_a_file_is_reported_once():
    sql = "ALTER TABLE a ADD COLUMN x int; ALTER TABLE b ADD COLUMN x int; ALTER TABLE c ADD COLUMN x int;"
    scripts = [Script("1.sql", sql, 1), Script("2.sql", sql, 2)]
    once = list(checking.once(checking.of_files(scripts, rules=[named("LK01")])))
    assert [(one.at.source, one.found.name) for one in once] == [("1.sql", "a"), ("2.sql", "a")]
    assert once[0].found.message.endswith("; 2 more in this file")
