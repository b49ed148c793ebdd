"""The audit finds nothing in a sound installation, and each way of breaking one: by rule, and by attack if one shows.

Standard: §4.1 Row-Level Security (RLS), §9.2 Row-Level Security
"""

import json
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from cloudlab.config import ShardConfig
from cloudlab.platform import Platform
from cloudlab.tenancy.arena import Verdict
from cloudlab.tenancy.audit import audit, meanings
from cloudlab.tenancy.policies import lint
from cloudlab.tenancy.tenants import shard_config
from fixtures.commands import cloudlab, write_config
from fixtures.postgres import Cluster
from isolation.filling import fill

# What no test of the shop fills, or only a worker does.
EMPTY = (
    "events_archive",
    "parked_events",
    "product_sales",
    "saga_actions_archive",
    "saga_instances_archive",
    "saga_steps_archive",
)


@pytest.fixture
async def shard(platform: Platform) -> ShardConfig:
    """A shard with two tenants in the shared tables and one in its own schema, each with a row in every table."""
    for name, placement in (("acme", "row"), ("rival", "row"), ("own", "schema")):
        await fill(platform, await platform.create_tenant(name, region="eu-west-1", placement=placement))
    return shard_config(platform.config, "eu_west_001")


@pytest.fixture
async def pair(platform: Platform) -> ShardConfig:
    """A shard with two tenants in the shared tables."""
    for name in ("acme", "rival"):
        await fill(platform, await platform.create_tenant(name, region="eu-west-1"))
    return shard_config(platform.config, "eu_west_001")


async def test_every_attack_on_every_table_is_held(shard: ShardConfig):
    found = await audit(shard)
    assert found.breaches == []
    assert [attempt for attempt in found.attempts if attempt.verdict is Verdict.LEAKED] == []
    assert not found.is_leaking
    # There is no view in the schema; a mutation below makes one.
    assert {attempt.attack for attempt in found.attempts} | {"views"} == set(meanings())
    pairs = {f"{one} against {other}" for one in ("row", "schema") for other in ("row", "schema")}
    assert {attempt.placement for attempt in found.attempts} == pairs - {"schema against schema"} | {"row", "schema"}
    assert {attempt.login for attempt in found.attempts} == {"app", "readonly", "owner"}
    unproven = {
        attempt for attempt in found.attempts if attempt.attack == "read" and attempt.verdict is Verdict.UNPROVEN
    }
    assert {attempt.place.partition(".")[2] for attempt in unproven} == set(EMPTY)


async def test_what_an_injected_statement_can_do_is_said(shard: ShardConfig):
    found = await audit(shard, only=["forged context"])
    assert {attempt.verdict for attempt in found.attempts} == {Verdict.KNOWN}
    assert not found.is_leaking


async def test_an_audit_changes_nothing(platform: Platform, shard: ShardConfig):
    acme = await platform.tenant("acme")

    async def counted() -> list[dict]:
        async with platform.session(acme, readonly=True) as s:
            return await s.fetch(
                dict,
                """
                SELECT (SELECT count(*) FROM events) AS events, (SELECT count(*) FROM orders) AS orders,
                       (SELECT max(updated_at) FROM orders) AS changed,
                       (SELECT count(*) FROM pg_class) AS relations, (SELECT count(*) FROM pg_proc) AS functions
                """,
            )

    before = await counted()
    await audit(shard, tenant_id=acme.tenant_id)
    assert await counted() == before


LEAKY_VIEW = "CREATE VIEW shop.everybody AS SELECT tenant_id, email FROM shop.users; "
LEAKY_FUNCTION = """
    CREATE FUNCTION shop.everybody() RETURNS SETOF shop.users LANGUAGE plpgsql SECURITY DEFINER
    AS $$ BEGIN RETURN QUERY SELECT * FROM shop.users; END $$;
    REVOKE EXECUTE ON FUNCTION shop.everybody() FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION shop.everybody() TO application_readwrite
"""
WITHOUT_NULLIF = """
    CREATE OR REPLACE FUNCTION cloudlab.current_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT pg_catalog.current_setting('app.current_tenant_id', true)::uuid $$
"""
PERMISSIVE = """
    DROP POLICY tenant_isolation_policy ON shop.orders;
    CREATE POLICY tenant_isolation_policy ON shop.orders FOR ALL
        TO application_readonly, application_readwrite, application_admin
        USING (tenant_id = (SELECT cloudlab.current_tenant()))
        WITH CHECK (tenant_id = (SELECT cloudlab.current_tenant()))
"""
UNPROTECTED = (
    "CREATE TABLE shop.notes (tenant_id uuid, note text); GRANT SELECT ON shop.notes TO application_readwrite; "
)
MUTATIONS: dict[str, tuple[LiteralString, str, str | None]] = {
    "FORCE is dropped": ("ALTER TABLE shop.users NO FORCE ROW LEVEL SECURITY", "forced", "owner"),
    "RLS is switched off": ("ALTER TABLE shop.users DISABLE ROW LEVEL SECURITY", "forced", "read"),
    "the tenant policy is permissive": (PERMISSIVE, "tenant policy", "read"),
    "the tenant policy shows all": (
        "ALTER POLICY tenant_isolation_policy ON shop.users USING (true)", "tenant policy", "copy out",
    ),
    "WITH CHECK checks nothing": (
        "ALTER POLICY tenant_isolation_policy ON shop.orders WITH CHECK (true)", "tenant policy", "plant",
    ),
    "what is one's own may be given away": (
        "ALTER POLICY tenant_isolation_policy ON shop.user_profiles WITH CHECK (true)", "tenant policy", "give away",
    ),
    "a view runs as its owner": (
        LEAKY_VIEW + "GRANT SELECT ON shop.everybody TO application_readwrite", "view", "views",
    ),
    "a summary is materialized": (
        "CREATE MATERIALIZED VIEW shop.summary AS SELECT tenant_id FROM shop.users;"
        " GRANT SELECT ON shop.summary TO application_readonly", "view", "views",
    ),
    "NULLIF is missing": (WITHOUT_NULLIF, "tenant function", "no tenant"),
    "a function has no search_path": (LEAKY_FUNCTION, "search path", "functions"),
    "a definer function is for everybody": (
        LEAKY_FUNCTION + "; GRANT EXECUTE ON FUNCTION shop.everybody() TO PUBLIC", "definer function", "functions",
    ),
    "a key is unique among all tenants": (
        "CREATE UNIQUE INDEX uq_u ON shop.users (user_id)", "unique without tenant", "probe keys",
    ),
    "a reference crosses tenants": (
        "CREATE UNIQUE INDEX uq_u ON shop.users (user_id); ALTER TABLE shop.user_profiles"
        " ADD CONSTRAINT fk_u FOREIGN KEY (user_id) REFERENCES shop.users (user_id),"
        " DROP CONSTRAINT fk_user_profiles_user_id", "foreign key without tenant", "probe keys",
    ),
    "TRUNCATE is granted": ("GRANT TRUNCATE ON shop.refunds TO application_readwrite", "grant", "truncate"),
    "a table is new and bare": (UNPROTECTED, "forced", None),
    "a table is forced and granted, and has no policy": (
        UNPROTECTED + "ALTER TABLE shop.notes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "tenant policy", None,
    ),
    "a table has no tenant": ("CREATE TABLE shop.notes (note text)", "no tenant column", None),
    "new tables are granted": (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA shop GRANT SELECT ON TABLES TO application_readonly",
        "default privileges", None,
    ),
    "everybody may make objects": ("GRANT CREATE ON SCHEMA shop TO PUBLIC", "schema", "new objects"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_breach_is_found_by_rule_and_by_attack(pair: ShardConfig, postgres: Cluster, name: str):
    mutation, rule, attack = MUTATIONS[name]
    database = str(conninfo_to_dict(pair.urls.owner_url)["dbname"])
    async with await psycopg.AsyncConnection.connect(postgres.url(database, "postgres"), autocommit=True) as conn:
        await conn.execute(mutation)
    found = await audit(pair, only=[attack] if attack else [])
    assert rule in {breach.rule for breach in found.breaches}
    assert all(breach.remedy and breach.message for breach in found.breaches)
    leaked = [attempt for attempt in found.attempts if attempt.verdict is Verdict.LEAKED]
    assert bool(leaked) is bool(attack), leaked
    assert found.is_leaking


async def test_a_partition_without_protection_is_found(pair: ShardConfig):
    async with await psycopg.AsyncConnection.connect(pair.urls.owner_url, autocommit=True) as conn:
        row = await (await conn.execute("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')")).fetchone()
        partition = psycopg.sql.Identifier("cloudlab", f"events_{row[0] if row else ''}")
        await conn.execute(psycopg.sql.SQL("GRANT SELECT ON {} TO application_readonly").format(partition))
        assert "grant" in {breach.rule for breach in await lint(pair.urls.owner_url)}
        await conn.execute(psycopg.sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(partition))
    found = await audit(pair, only=["read"])
    assert {attempt.login for attempt in found.attempts if attempt.verdict is Verdict.LEAKED} == {"app", "readonly"}


@pytest.mark.parametrize(
    ("attribute", "harmless"),
    [("BYPASSRLS", "NOBYPASSRLS"), ("CREATEROLE", "NOCREATEROLE"), ("SUPERUSER", "NOSUPERUSER")],
)
async def test_a_login_with_too_many_rights_is_found(
    pair: ShardConfig, postgres: Cluster, attribute: str, harmless: str
):
    change = psycopg.sql.SQL("ALTER ROLE cloudlab_readonly {}")
    postgres.admin.execute(change.format(psycopg.sql.SQL(attribute)))
    try:
        found = await audit(pair, only=["read"])
    finally:
        postgres.admin.execute(change.format(psycopg.sql.SQL(harmless)))
    assert "login" in {breach.rule for breach in found.breaches}
    leaked = {attempt.login for attempt in found.attempts if attempt.verdict is Verdict.LEAKED}
    assert leaked == (set() if attribute == "CREATEROLE" else {"readonly"})


async def test_the_command_prints_every_attack_and_fails_on_a_leak(
    platform: Platform, shard: ShardConfig, tmp_path: Path
):
    write_config(platform.config, tmp_path)
    sound = cloudlab(tmp_path, "security", "audit", "--shard", "eu_west_001")
    assert sound.returncode == 0, sound.stderr
    assert all(name in sound.stdout for name in meanings())
    async with await psycopg.AsyncConnection.connect(shard.urls.owner_url, autocommit=True) as conn:
        await conn.execute("ALTER TABLE shop.users DISABLE ROW LEVEL SECURITY")
    broken = cloudlab(tmp_path, "security", "audit", "--tenant", "acme", "--json")
    assert broken.returncode == 1
    (report,) = json.loads(broken.stdout)
    assert report["is_leaking"]
    assert report["breaches"][0]["place"] == "shop.users"
    assert {each["place"] for each in report["attempts"] if each["verdict"] == "leaked"} == {"shop.users"}
