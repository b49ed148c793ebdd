"""The quick start of `cloudlab check` does what the full command does; kept results are those of the same files.

Standard: §11.3 Operational Excellence
"""

import subprocess
import sys
from dataclasses import fields, replace
from io import StringIO
from pathlib import Path

import pytest
import typer
from google.protobuf.message import Message

from cloudlab.cli import quick
from cloudlab.cli.check import app
from cloudlab.standards import files, results
from cloudlab.standards.catalog import Catalog
from cloudlab.standards.folding import fold
from cloudlab.standards.order import Order
from cloudlab.standards.rule import Earlier, Step
from cloudlab.standards.rules import every
from cloudlab.standards.scripts import Script

INDEX = "CREATE INDEX idx_users_email ON users (email);\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "001.sql").write_text(INDEX)
    return tmp_path


def test_both_command_lines_have_the_same_options():
    command = typer.main.get_command(app).commands["check"]  # type: ignore[attr-defined]
    options = {name for parameter in command.params for name in parameter.opts if name.startswith("-")}
    assert options - {"--help", "-h"} == set(quick.VALUES) | set(quick.FLAGS)


def test_options_are_read_as_the_full_command_reads_them():
    order = quick.parse(["migrations", "--select", "LK", "--select=CP", "-f", "github", "--no-cache", "-"])
    assert order == Order(("migrations", "-"), style="github", select=("LK", "CP"), use_cache=False)
    assert quick.parse(["--json", "-f", "text", "a=b.sql"]) == Order(("a=b.sql",), style="json")


@pytest.mark.parametrize("plain", [["--help"], [], ["a.sql", "--select"], ["a.sql", "--fail-on", "x"], ["a", "--new"]])
def test_what_is_not_plain_is_left_to_the_full_command(plain: list[str]):
    assert quick.parse(plain) is None


def test_the_quick_start_loads_neither_the_command_line_nor_a_driver(project: Path):
    code = (
        "import sys; sys.argv = ['cloudlab', 'check', '001.sql']\nfrom cloudlab.cli.main import main\n"
        "try: main()\nexcept SystemExit as end: assert end.code == 1, end.code\n"
        "print(sorted({'typer', 'rich', 'psycopg', 'asyncio', 'pydantic', 'postgast'} & set(sys.modules)))"
    )
    first, again = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "12"
    )
    assert first.splitlines()[-1] == "['postgast']"
    assert again.splitlines()[-1] == "[]"
    assert first.splitlines()[:-1] == again.splitlines()[:-1]


def _name(order: Order) -> str:
    return results.name(order, files.read(order.targets, StringIO()))


def test_a_result_has_another_name_when_anything_it_depends_on_changes(project: Path):
    order = Order((".",))
    names = [_name(order), _name(replace(order, style="json")), _name(replace(order, select=("LK",)))]
    (project / "001.sql").write_text(INDEX + "-- changed\n")
    names.append(_name(order))
    (project / "001.sql").rename(project / "002.sql")
    names.append(_name(order))
    (project / "cloudlab.toml").write_text('[check]\nignore = ["CM02"]\n')
    names.append(_name(order))
    (project / "known.json").write_text('{"findings": []}')
    names.append(_name(replace(order, baseline="known.json")))
    (project / "known.json").write_text('{"findings": [] }')
    names.append(_name(replace(order, baseline="known.json")))
    assert len(set(names)) == len(names)
    assert _name(order) == names[5]


def test_every_option_of_an_order_is_part_of_the_name(project: Path):
    for field in fields(Order):
        other = {"targets": ("001.sql", "."), "write_baseline": True, "use_cache": False}.get(field.name, "x")
        assert _name(replace(Order(("001.sql",)), **{field.name: other})) != _name(Order(("001.sql",)))  # type: ignore[arg-type]


def test_what_is_not_decided_by_files_is_never_kept():
    for order in (
        Order(("postgresql://localhost/x",)), Order(("a",), since="main"), Order(("a",), explain="LK05"),
        Order(("a",), write_baseline=True), Order(("a",), use_cache=False),
    ):  # fmt: skip
        assert not results.can_be_kept(order)
    assert results.can_be_kept(Order(("a", "-")))


def test_a_kept_result_is_returned_and_a_broken_one_is_not(project: Path):
    order = Order(("001.sql",))
    first = quick.result_of(order)
    assert first.failed
    kept = next((project / "kept" / "cloudlab" / "check").iterdir())
    kept.write_text('{"text": "kept", "failed": false}')
    assert quick.result_of(order).text == "kept"
    kept.write_text("{")
    assert quick.result_of(order) == first


def test_a_folder_that_cannot_be_written_costs_only_time(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "001.sql"))
    assert quick.result_of(Order(("001.sql",))).failed


def test_no_more_results_are_kept_than_are_needed(project: Path):
    for number in range(70):
        results.keep(f"{number}", results.Result("", failed=False))
    assert len(list((project / "kept" / "cloudlab" / "check").iterdir())) == 64


def test_a_rule_has_nothing_to_say_about_kinds_of_statement_that_it_is_not_asked_about():
    wrong: set[tuple[str, str]] = set()
    for example in (sql for rule in every() if rule.step for sql in (*rule.bad, *rule.good)):
        catalog = Catalog()
        for number, part in enumerate(example.split("-- next file\n"), 1):
            script, earlier = Script(f"{number}.sql", part, number), Earlier()
            for statement in script.statements:
                step = Step(catalog, statement, script, earlier)
                if isinstance(statement.node, Message):
                    wrong |= {
                        (rule.id, statement.kind) for rule in every()
                        if rule.step and rule.on and statement.kind not in rule.on and list(rule.step(step))
                    }  # fmt: skip
                    fold(catalog, statement, number)
                earlier.append(statement)
    assert wrong == set()
