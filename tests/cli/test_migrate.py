"""`cloudlab migrate` as a person and as a script meet it."""

import functools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from cloudlab.cli.migrate import app
from cloudlab.cli.terminal import exit_code
from cloudlab.config import Config
from cloudlab.errors import ChecksumChanged, CloudLabError, ConfigError, Unavailable
from cloudlab.schema.files import Tree, load_tree

Command = Callable[..., Result]


def toml(config: Config) -> str:
    """Write a configuration as the file it is read from."""

    def section(head: str, values: dict) -> str:
        return "\n".join([head, *(f"{name} = {json.dumps(value)}" for name, value in values.items())])

    return "\n".join(
        [
            section("[control]", asdict(config.control)),
            *(section("[[shards]]", {"name": s.name, "region": s.region, **asdict(s.urls)}) for s in config.shards),
            section("[cache]", {"url": config.cache_url}),
            section("[analytics]", {"url": config.analytics_url}),
        ]
    )


def invoke(config: Path, *arguments: str, answer: str | None = None) -> Result:
    return CliRunner(env={"COLUMNS": "160", "CLOUDLAB_CONFIG": str(config)}).invoke(app, arguments, input=answer)


def command(config: Config, folder: Path) -> Command:
    path = folder / "cloudlab.toml"
    path.write_text(toml(config))

    return functools.partial(invoke, path)


@pytest.fixture
def migrate(config: Config, tmp_path: Path) -> Command:
    """The command for a migrated installation."""
    return command(config, tmp_path)


@pytest.fixture
def migrate_bare(bare_config: Config, tmp_path: Path) -> Command:
    """The command for an installation that nothing has touched."""
    return command(bare_config, tmp_path)


def test_up_status_and_verify(migrate_bare: Command):
    assert migrate_bare("verify").exit_code == 1
    done = migrate_bare("up")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "tenant:us_east_001/shop" in done.stdout
    assert "applied" in done.stdout
    assert "up to date" in migrate_bare("up").stdout
    shown = migrate_bare("status")
    assert shown.exit_code == 0
    assert load_tree(Tree.CONTROL)[0].title in shown.stdout
    verified = migrate_bare("verify")
    assert verified.exit_code == 0
    assert "6 places hold all their" in verified.stdout


def test_machines_read_json(migrate_bare: Command):
    planned = json.loads(migrate_bare("up", "--json", "--dry-run").stdout)
    assert planned["dry_run"]
    assert planned["targets"][0]["migrations"][0]["sql"] == load_tree(Tree.CONTROL)[0].up.sql
    assert not json.loads(migrate_bare("verify", "--json").stdout)["ok"]
    done = json.loads(migrate_bare("up", "--json").stdout)
    assert [one["target"] for one in done["targets"]] == [one["target"] for one in planned["targets"]]
    assert json.loads(migrate_bare("verify", "--json").stdout) == {"ok": True, "problems": []}
    states = {
        one["state"] for place in json.loads(migrate_bare("status", "--json").stdout) for one in place["migrations"]
    }
    assert states == {"applied"}


def test_a_dry_run_prints_the_sql_and_changes_nothing(migrate_bare: Command):
    done = migrate_bare("up", "--dry-run", "--target", "control")
    assert done.exit_code == 0
    assert "CREATE TABLE shards" in done.stdout
    assert "nothing was changed" in done.stderr
    assert '"state": "applied"' not in migrate_bare("status", "--json").stdout


def test_down_asks_first(migrate: Command):
    refused = migrate("down", "--target", "tenant", answer="n\n")
    assert refused.exit_code == 1
    assert migrate("verify").exit_code == 0
    assert migrate("down", "--target", "tenant", answer="y\n").exit_code == 0
    assert migrate("verify").exit_code == 1
    assert migrate("down", "--target", "tenant", "--to", "0", "--yes").exit_code == 0
    assert migrate("up", "--target", "tenant", "--to", "1").exit_code == 0
    assert "001" in migrate("status", "--target", "tenant").stdout
    assert migrate("up").exit_code == 0
    assert migrate("verify").exit_code == 0


def test_down_names_its_place(migrate: Command):
    error = migrate("down", "--yes").exception
    assert isinstance(error, CloudLabError)
    assert exit_code(error) == 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["up", "--target", "shard:nowhere"], 2, "no target 'shard:nowhere'"),
        (["up", "--to", "1"], 1, "something else in each tree"),
        (["up", "--target", "control", "--to", "99"], 1, "no migration 099"),
    ],
)
def test_mistakes_have_their_error_and_exit_code(migrate: Command, arguments: list[str], code: int, said: str):
    error = migrate(*arguments).exception
    assert isinstance(error, CloudLabError)
    assert said in error.message
    assert exit_code(error) == code


def test_a_changed_history_fails(migrate: Command, config: Config):
    with psycopg.connect(config.control.owner_url) as conn:
        conn.execute("UPDATE cloudlab.schema_migrations SET checksum = 'x' WHERE version = '001'")
    assert isinstance(migrate("up").exception, ChecksumChanged)
    verified = migrate("verify")
    assert verified.exit_code == 1
    assert "was changed after it was applied" in verified.stderr
    assert "changed" in migrate("status").stdout


def test_a_server_that_is_not_there_is_unavailable(migrate: Command, tmp_path: Path):
    path = tmp_path / "cloudlab.toml"
    path.write_text(path.read_text().replace("cloudlab_owner", "cloudlab_nobody"))
    error = migrate("up").exception
    assert isinstance(error, Unavailable)
    assert exit_code(error) == 3


def test_a_configuration_that_is_not_there_is_a_usage_error(tmp_path: Path):
    error = invoke(tmp_path / "none.toml", "status").exception
    assert isinstance(error, ConfigError)
    assert exit_code(error) == 2


@pytest.mark.parametrize("verb", ["up", "down", "status", "verify"])
def test_help_has_examples(verb: str, tmp_path: Path):
    done = invoke(tmp_path, verb, "--help")
    assert done.exit_code == 0
    assert f"cloudlab migrate {verb}" in done.stdout
