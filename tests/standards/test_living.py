"""Living with the checker: choices of a project, comments that hide findings, baselines, what changed, explanations.

Standard: §11.3 Operational Excellence
"""

import json
import subprocess
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloudlab.cli.check import app
from cloudlab.errors import CloudLabError
from cloudlab.standards import checking, suppressing
from cloudlab.standards.rules import named
from cloudlab.standards.scripts import Script

INDEX = "CREATE INDEX idx_users_email ON users (email);\n"
TODAY = date(2026, 11, 22)


def reported(sql: str, rules: Sequence[str] = ("LK05",)) -> list[str]:
    """Return the ids of what is left of a file's findings."""
    script = Script("001.sql", sql, 1)
    findings = list(checking.of_files([script], rules=[named(one) for one in rules]))
    return [one.rule.id for one in suppressing.applied(findings, [script], rules, TODAY)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, text: str = "") -> tuple[int, list[str]]:
    """Run `cloudlab check`; return its exit code and the rules of its findings."""
    result = CliRunner().invoke(app, ["check", "--json", *arguments], input=text)
    if isinstance(result.exception, CloudLabError):
        raise result.exception
    return result.exit_code, [one["rule"] for one in json.loads(result.output)["findings"]] if result.output else []


def test_a_comment_with_a_reason_hides_a_finding():
    assert reported(INDEX) == ["LK05"]
    assert reported(f"-- cloudlab: ignore LK05 because the table has ten rows\n{INDEX}") == []
    assert reported(f"{INDEX.strip()} -- cloudlab: ignore LK05: the table has ten rows\n") == []
    assert reported("CREATE INDEX i\n  -- cloudlab: ignore LK05, the table is empty\n  ON users (email);") == []
    assert reported(f"-- cloudlab: ignore-file LK05 because nothing runs yet\n\nSELECT 1;\n{INDEX}") == []


def test_a_comment_speaks_of_its_own_statement_only():
    second = INDEX.replace("email", "name")
    assert reported(f"-- cloudlab: ignore LK05 because it is small\n{INDEX}{second}") == ["LK05"]
    assert reported(f"-- cloudlab: ignore LK06 because it is small\n{INDEX}", ("LK05", "LK06")) == ["LK05", "SU03"]


def test_a_comment_without_a_reason_hides_nothing_and_is_reported():
    assert sorted(reported(f"-- cloudlab: ignore LK05\n{INDEX}")) == ["LK05", "SU01"]
    assert sorted(reported(f"-- cloudlab: ignore LK05 until 2027-01-01\n{INDEX}")) == ["LK05", "SU01"]


def test_a_comment_holds_until_its_day():
    kept = f"-- cloudlab: ignore LK05 until 2026-11-22, because the release is then\n{INDEX}"
    assert reported(kept) == []
    assert sorted(reported(kept.replace("11-22", "11-21"))) == ["LK05", "SU02"]
    assert sorted(reported(kept.replace("11-22", "13-40"))) == ["LK05", "SU02"]


def test_a_comment_that_hides_nothing_is_reported():
    assert reported("-- cloudlab: ignore LK05 because it was large once\nCREATE TABLE t (a integer);") == ["SU03"]
    assert reported("-- cloudlab: ignore LK05 because it was large once\nSELECT 1;", ("LK06",)) == []


def test_a_project_chooses_rules_levels_and_places(project: Path):
    (project / "old").mkdir()
    (project / "a.sql").write_text(INDEX)
    (project / "old/b.sql").write_text(INDEX.replace("email", "name"))
    assert run("--select", "LK05", ".") == (1, ["LK05", "LK05"])
    (project / "pyproject.toml").write_text('[tool.cloudlab.check]\nselect = ["LK"]\nignore = ["LK01"]\n')
    assert run(".") == (1, ["LK05", "LK05"])
    (project / "cloudlab.toml").write_text('[check]\nselect = ["LK05"]\npaths = {"old/*" = ["LK"]}\n')
    assert run(".") == (1, ["LK05"])
    (project / "cloudlab.toml").write_text('[check]\nselect = ["LK05"]\nlevels = {LK05 = "note"}\n')
    assert run(".") == (0, ["LK05", "LK05"])
    assert run(".", "--fail-on", "note")[0] == 1


@pytest.mark.parametrize(
    "text",
    ['[check]\nselct = ["LK05"]', '[check]\nselect = ["XX99"]', '[check]\nlevels = {LK05 = "bad"}', "[check\n"],
)
def test_a_mistake_in_the_choices_is_told(project: Path, text: str):
    (project / "a.sql").write_text(INDEX)
    (project / "cloudlab.toml").write_text(text)
    with pytest.raises(CloudLabError):
        run(".")


def test_a_baseline_knows_what_was_there_wherever_it_moves(project: Path):
    (project / "a.sql").write_text(INDEX)
    arguments = ("--select", "LK05", "--baseline", "known.json", "a.sql")
    assert CliRunner().invoke(app, ["check", "--write-baseline", *arguments]).exit_code == 0
    assert run(*arguments) == (0, [])
    (project / "a.sql").write_text(f"SELECT 1;\n\n{INDEX}")
    assert run(*arguments) == (0, [])
    (project / "a.sql").write_text(INDEX + INDEX)
    assert run(*arguments) == (1, ["LK05"])
    (project / "known.json").write_text("[]")
    with pytest.raises(CloudLabError, match="is no baseline"):
        run(*arguments)


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@acme.test")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_only_files_that_changed_are_reported_and_all_are_known(project: Path):
    (project / "001.sql").write_text(f"CREATE TABLE users (email text);\n{INDEX}CREATE INDEX i ON old (a);\n")
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-qm", "One")
    (project / "002.sql").write_text("CREATE INDEX idx_users_name ON users (email);\n")
    assert run("--select", "LK05", ".") == (1, ["LK05", "LK05"])
    assert run("--select", "LK05", "--since", "HEAD", ".") == (1, ["LK05"])
    git(project, "add", ".")
    git(project, "commit", "-qm", "Two")
    assert run("--select", "LK05", "--since", "HEAD", ".") == (0, [])
    with pytest.raises(CloudLabError, match="git"):
        run("--since", "nothing", ".")


def test_an_editor_names_what_it_sends(project: Path):
    result = CliRunner().invoke(app, ["check", "--select", "LK05", "--stdin-name", "x/9.sql", "-"], input=INDEX)
    assert result.exit_code == 1
    assert result.output.startswith("x/9.sql:1:1: error LK05: idx_users_email:")


def test_an_explanation_says_what_was_known(project: Path):
    (project / "a.sql").write_text(f"CREATE TABLE users (email text);\n{INDEX}CREATE INDEX i ON orders (a);\n")
    output = CliRunner().invoke(app, ["check", "--explain", "lk05", "a.sql"]).output
    assert "IndexStmt (users is made by the same file: nobody uses it yet): nothing to report" in output
    assert "IndexStmt (orders is not known: nothing before makes it): reported" in output


def test_a_page_scores_each_heading(project: Path):
    (project / "a.sql").write_text(INDEX)
    page = CliRunner().invoke(app, ["check", "--format", "html", "--select", "LK05", "a.sql"]).output
    assert "<td>§6.2 Adding Indexes<td><meter" in page
    assert "error LK05" in page
    assert "<script" not in page
