"""ClickHouse's tree: the same files, applied without transactions."""

from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import pytest

from cloudlab.errors import ChecksumChanged, ConfigError, MigrationError, Unavailable
from cloudlab.schema import clickhouse, runner
from cloudlab.schema.history import State


@pytest.fixture
def facts(small_tree):
    tree = small_tree(clickhouse=True)
    tree.add(
        "001_facts.sql",
        "CREATE TABLE IF NOT EXISTS facts (id UInt64, name String DEFAULT 'it\\'s; new')\n"
        "ENGINE = MergeTree ORDER BY id;",
        "DROP TABLE IF EXISTS facts SYNC;",
    )
    tree.add(
        "002_kinds.sql",
        "ALTER TABLE facts ADD COLUMN IF NOT EXISTS kind String;\nALTER TABLE facts MODIFY COMMENT 'What happened';",
        "ALTER TABLE facts DROP COLUMN IF EXISTS kind;\nALTER TABLE facts MODIFY COMMENT '';",
    )
    return tree


def columns(url: str) -> list[str]:
    with clickhouse_connect.get_client(dsn=url) as client:
        return [row[0] for row in client.query("DESCRIBE TABLE facts").result_rows]


async def up(url: str, tree, **options) -> list[str]:
    async with clickhouse.connect(url) as store:
        return [applied.version for applied in await runner.up(store, tree.load(), **options)]


async def down(url: str, tree, **options) -> list[str]:
    async with clickhouse.connect(url) as store:
        return [applied.version for applied in await runner.down(store, tree.load(), **options)]


async def states(url: str, tree) -> list[State]:
    async with clickhouse.connect(url) as store:
        return [status.state for status in await runner.status(store, tree.load())]


async def test_up_creates_the_database_and_applies_everything_once(empty_clickhouse_url: str, facts):
    assert await states(empty_clickhouse_url, facts) == [State.PENDING, State.PENDING]
    assert await up(empty_clickhouse_url, facts, dry_run=True) == ["001", "002"]
    assert await states(empty_clickhouse_url, facts) == [State.PENDING, State.PENDING]
    assert await up(empty_clickhouse_url, facts) == ["001", "002"]
    assert await up(empty_clickhouse_url, facts) == []
    assert columns(empty_clickhouse_url) == ["id", "name", "kind"]
    async with clickhouse.connect(empty_clickhouse_url) as store:
        await runner.verify(store, facts.load())


async def test_down_takes_back_and_up_applies_again(empty_clickhouse_url: str, facts):
    await up(empty_clickhouse_url, facts)
    assert await down(empty_clickhouse_url, facts) == ["002"]
    assert columns(empty_clickhouse_url) == ["id", "name"]
    assert await down(empty_clickhouse_url, facts, to=0) == ["001"]
    assert await states(empty_clickhouse_url, facts) == [State.PENDING, State.PENDING]
    assert await up(empty_clickhouse_url, facts) == ["001", "002"]


async def test_a_changed_file_is_refused(empty_clickhouse_url: str, facts):
    await up(empty_clickhouse_url, facts)
    path: Path = facts.folder / "001_facts.sql"
    path.write_text(path.read_text() + "-- more\n")
    with pytest.raises(ChecksumChanged, match=r"clickhouse\.test_\d+: 001_facts\.sql was changed"):
        await up(empty_clickhouse_url, facts)


async def test_a_half_applied_file_is_mended_and_run_again(empty_clickhouse_url: str, facts):
    facts.add(
        "003_fails.sql",
        "ALTER TABLE facts ADD COLUMN IF NOT EXISTS a String;\nALTER TABLE nothing ADD COLUMN IF NOT EXISTS b String;",
        "ALTER TABLE facts DROP COLUMN IF EXISTS a;",
    )
    with pytest.raises(MigrationError, match=r"003_fails\.sql:9: .*nothing"):
        await up(empty_clickhouse_url, facts)
    assert (await states(empty_clickhouse_url, facts))[-1] is State.INTERRUPTED
    path: Path = facts.folder / "003_fails.sql"
    path.write_text(path.read_text().replace("TABLE nothing", "TABLE facts"))
    assert await up(empty_clickhouse_url, facts) == ["003"]
    assert columns(empty_clickhouse_url) == ["id", "name", "kind", "a", "b"]


async def test_a_server_that_is_not_there_is_unavailable(facts):
    with pytest.raises(Unavailable, match=r"ClickHouse at 127\.0\.0\.1:1 cannot be reached"):
        await up("http://cloudlab:x@127.0.0.1:1/test", facts)


async def test_a_wrong_password_is_refused(empty_clickhouse_url: str, facts):
    parts = urlsplit(empty_clickhouse_url)
    with pytest.raises((MigrationError, Unavailable)):
        await up(f"http://cloudlab:wrong@127.0.0.1:{parts.port}{parts.path}", facts)


@pytest.mark.parametrize("path", ["", "/", "/a b", "/x; DROP DATABASE y"])
async def test_a_url_without_a_plain_database_is_refused(path: str, facts):
    with pytest.raises(ConfigError, match="must end in /database"):
        await up(f"http://127.0.0.1:1{path}", facts)
