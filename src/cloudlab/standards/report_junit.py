"""Findings as JUnit has failures, for build servers.

Standard: §11 Best Practices
"""

from collections.abc import Sequence
from xml.etree import ElementTree

from cloudlab.standards.rule import Finding


def as_junit(findings: Sequence[Finding]) -> str:
    """Return findings as JUnit has failures, one case for each file or database."""
    suites = ElementTree.Element("testsuites", name="cloudlab check")
    suite = ElementTree.SubElement(suites, "testsuite", name="cloudlab check", tests="0", failures=str(len(findings)))
    sources = dict.fromkeys(finding.at.source for finding in findings)
    for source in sources:
        case = ElementTree.SubElement(suite, "testcase", name=source, classname="standards")
        for finding in findings:
            if finding.at.source == source:
                failure = ElementTree.SubElement(case, "failure", type=finding.rule.id, message=finding.found.message)
                failure.text = f"line {finding.at.line}: {finding.remedy}"
    suite.set("tests", str(max(len(sources), 1)))
    return ElementTree.tostring(suites, encoding="unicode")
