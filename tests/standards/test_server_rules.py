"""Rules about servers report what they are for, leave a good server alone, and read what real servers say.

Standard: §10.1 Health Checks
"""

from typing import Any

import psycopg
import pytest

from cloudlab.standards import checking, reading
from cloudlab.standards.rule import Server
from cloudlab.standards.rules import every
from fixtures.postgres import Cluster

RULES = [rule for rule in every() if rule.server]
GOOD = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "zero_damaged_pages": "off",
    "data_checksums": "on",
    "shared_preload_libraries": "pg_stat_statements",
    "wal_level": "replica",
    "archive_mode": "on",
    "archive_command": "cp %p /archive/%f",
    "autovacuum": "on",
    "track_counts": "on",
    "ssl": "on",
    "listen_addresses": "*",
    "password_encryption": "scram-sha-256",
}
TABLE = {"name": "public.t", "live": 50_000, "dead": 0, "analyzed": "2026-01-01", "changed": 100, "xid_age": 1000}
FACTS: dict[str, list[dict[str, Any]]] = {
    "roles": [
        {"role": "postgres", "superuser": True, "bypasses": True, "can_login": True, "is_ours": True},
        {"role": "app", "superuser": False, "bypasses": False, "can_login": True, "is_ours": False},
    ],
    "connections": [{"ssl": True, "is_remote": True, "role": "app"}] * 5,
    "extensions": [{"name": "pg_stat_statements", "version": "1.12"}],
    "databases": [{"name": "app", "xid_age": 5000, "since": None}],
    "tables": [TABLE],
    "sequences": [{"sequence": "public.s", "last_value": 10, "max_value": 2**31 - 1, "cycle": False}],
    "passwords": [{"role": "app", "kind": "SCR"}],
    "hba": [{"line": 9, "type": "host", "address": "127.0.0.1", "method": "trust"}],
}
SUPERUSER = {"role": "boss", "superuser": True, "bypasses": True, "can_login": True, "is_ours": False}


def judged(settings: dict[str, str], facts: dict[str, list[dict[str, Any]]]) -> set[str]:
    server = Server(18, GOOD | settings, FACTS | facts)
    return {finding.rule.id for finding in checking.of_server(server, RULES)}


def test_a_good_server_is_left_alone():
    assert judged({}, {}) == set()


@pytest.mark.parametrize(
    ("rule", "settings", "facts"),
    [
        ("OB02", {"shared_preload_libraries": ""}, {"extensions": []}),
        ("OB02", {}, {"extensions": []}),
        ("OB03", {"fsync": "off"}, {}),
        ("OB03", {"zero_damaged_pages": "on"}, {}),
        ("OB04", {"data_checksums": "off"}, {}),
        ("OB08", {"archive_mode": "off"}, {}),
        ("OB08", {"wal_level": "minimal", "archive_mode": "off"}, {}),
        ("OB08", {"archive_command": "/bin/true"}, {}),
        ("OB09", {"autovacuum": "off"}, {}),
        ("OB10", {}, {"databases": [{"name": "app", "xid_age": 1_500_000_000}]}),
        ("OB10", {}, {"tables": [TABLE | {"xid_age": 1_200_000_000}]}),
        ("OB11", {}, {"sequences": [{"sequence": "s", "last_value": 2 * 10**9, "max_value": 2**31, "cycle": False}]}),
        ("OB12", {}, {"tables": [TABLE | {"analyzed": None}]}),
        ("OB12", {}, {"tables": [TABLE | {"changed": 40_000}]}),
        ("SE06", {}, {"roles": [SUPERUSER], "connections": [{"ssl": True, "is_remote": True, "role": "boss"}] * 4}),
        ("SE09", {"ssl": "off"}, {}),
        ("SE09", {}, {"connections": [{"ssl": False, "is_remote": True, "role": "app"}]}),
        ("SE10", {"password_encryption": "md5"}, {}),
        ("SE10", {}, {"passwords": [{"role": "app", "kind": "md5"}]}),
        ("SE10", {}, {"hba": [{"line": 9, "type": "host", "address": "10.0.0.0", "method": "md5"}]}),
        ("SE13", {}, {"roles": [SUPERUSER | {"superuser": False}]}),
    ],
)
def test_a_rule_reports_what_it_is_for(rule: str, settings: dict[str, str], facts: dict[str, list[dict[str, Any]]]):
    assert judged(settings, facts) == {rule}


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ({"archive_mode": "off", "rds.extensions": "a"}, {}),
        ({"shared_preload_libraries": ""}, {}),
        ({"ssl": "off", "listen_addresses": "localhost"}, {}),
        ({}, {"sequences": [{"sequence": "s", "last_value": 9, "max_value": 10, "cycle": True}]}),
        ({}, {"tables": [TABLE | {"live": 5, "analyzed": None, "changed": 5}]}),
        ({}, {"roles": [SUPERUSER], "connections": [{"ssl": True, "is_remote": False, "role": "boss"}]}),
        ({}, {"roles": [SUPERUSER | {"role": "backup_reader", "superuser": False}]}),
    ],
)
def test_what_only_looks_bad_is_left_alone(settings: dict[str, str], facts: dict[str, list[dict[str, Any]]]):
    assert judged(settings, facts) == set()


async def test_a_real_server_is_read_and_judged(each_postgres: Cluster):
    with each_postgres.database("judged") as name:
        _, server = await reading.read(each_postgres.url(name, "postgres"))
    found = {finding.rule.id for finding in checking.of_server(server, RULES)}
    assert {"OB03", "OB08", "OB09"} <= found  # tests run without fsync, archive and autovacuum
    assert "OB10" not in found
    assert server.facts["hba"]
    assert server.facts["passwords"]


async def test_a_partitioned_table_is_no_table_that_was_never_frozen(each_postgres: Cluster):
    with each_postgres.database("partitioned") as name:
        url = each_postgres.url(name, "postgres")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CREATE TABLE e (at date) PARTITION BY RANGE (at)")
            conn.execute("CREATE TABLE e1 PARTITION OF e FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')")
        _, server = await reading.read(url)
    ages = {row["name"]: row["xid_age"] for row in server.facts["tables"]}
    assert ages["public.e"] == 0
    assert 0 < ages["public.e1"] < 1_000_000
    assert {finding.at.source for finding in checking.of_server(server, RULES)} == {"server"}
