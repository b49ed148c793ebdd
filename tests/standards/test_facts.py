"""What the rules believe of locks, rewrites and scans is what servers do.

Standard: §6.2 Schema Changes
"""

import json

import psycopg

from fixtures.observing import FILE, FORMS, observe
from fixtures.postgres import Cluster


def test_the_facts_are_what_a_server_does(each_postgres: Cluster):
    facts = json.loads(FILE.read_text())
    with (
        each_postgres.database("facts") as name,
        psycopg.connect(each_postgres.url(name, "postgres"), autocommit=True) as conn,
    ):
        version = str(conn.info.server_version // 10000)
        assert observe(conn) == {form: facts[form][version] for form in FORMS}
    assert set(facts) == set(FORMS)
