"""Statements are cut where PostgreSQL would cut them."""

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudlab.errors import MigrationError
from cloudlab.schema.statements import split
from fixtures.postgres import Cluster


def texts(sql: str, **options) -> list[str]:
    return [statement.text for statement in split(sql, **options)]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT ';'",
        "SELECT 'it''s; here'",
        r"SELECT E'it\'s; here'",
        r"SELECT 'ends with a backslash\'",
        'SELECT 1 AS "a;""b"',
        "SELECT $$;$$",
        "SELECT $body$ $$;$$ ; $body$",
        "SELECT $é1$;$é1$",
        "SELECT 1 -- a; comment\n, 2",
        "SELECT 1 /* a; /* nested; */ comment; */ , 2",
        "SELECT a$1 FROM (SELECT 1 AS a$1) AS x",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END",
        "CREATE OR REPLACE PROCEDURE p()\nLANGUAGE sql\nBEGIN ATOMIC\n  DELETE FROM t;\nEND",
        "DO $do$ BEGIN PERFORM 1; END $do$",
    ],
)
def test_a_semicolon_inside_ends_nothing(statement: str):
    assert [statement, "SELECT 2"] == texts(f"{statement};\nSELECT 2")


def test_lines_count_from_where_the_statement_begins():
    sql = "-- first\n\nSELECT 1;\n/* two\nlines */ SELECT\n2\n;\n;\n  SELECT 3"
    assert [(statement.line, statement.text) for statement in split(sql, first_line=10)] == [
        (12, "SELECT 1"),
        (14, "SELECT\n2"),
        (18, "SELECT 3"),
    ]


def test_words_are_bare_words_in_upper_case():
    (statement,) = split("create index /* not this */ concurrently \"nor this\" on t ('nor this')")
    assert statement.words == ("CREATE", "INDEX", "CONCURRENTLY", "ON", "T")


def test_clickhouse_escapes_with_a_backslash():
    assert texts(r"SELECT 'it\'s; here'; SELECT `a;b`", clickhouse=True) == [r"SELECT 'it\'s; here'", "SELECT `a;b`"]


@pytest.mark.parametrize("opened", ["'", '"', "$$", "$a$ $$", "/* /* */", r"E'\'"])
def test_what_is_never_closed_is_refused_with_its_line(opened: str):
    with pytest.raises(MigrationError, match=r"^some\.sql:3: .* is never closed$"):
        split(f"SELECT 1;\n\nSELECT {opened}\n;", source="some.sql")


def test_nothing_gives_no_statement():
    assert texts(" ;; -- only a comment\n /* and another */ ;") == []


_PIECE = st.sampled_from(
    ["'", "''", '"', "$$", "$a$", "--", "\n", "/*", "*/", ";", "(", ")", "\\", "E'", "x", " ", "1"]
)


@given(st.lists(_PIECE, max_size=25).map("".join))
def test_any_text_is_cut_or_refused_and_nothing_is_lost(sql: str):
    try:
        statements = split(sql)
    except MigrationError:
        return
    position = 0
    for statement in statements:
        position = sql.index(statement.text, position) + len(statement.text)
        assert split(statement.text)[0].text == statement.text


def test_postgresql_takes_every_statement_we_cut(postgres: Cluster):
    """A string with all kinds of quoting, cut by us, gives what PostgreSQL makes of it as one string."""
    sql = r"""
        SELECT 'a;''b', E'\';', $$;$$, $x$ $$ ; $x$; -- c;
        SELECT /* ; */ 1 AS ";";
        SELECT U&'d\0061t\+000061;', B'1', X'1F', '{;}'::text[];
    """
    with psycopg.connect(postgres.url("postgres", "postgres")) as conn:
        cut = [conn.execute(text.encode()).fetchall() for text in texts(sql)]
        whole = conn.execute(sql.encode())
        expected = [whole.fetchall()]
        while whole.nextset():
            expected.append(whole.fetchall())
    assert expected == cut
