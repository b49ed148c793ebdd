"""The stack can speak TLS with certificates of its own, and what crosses a network in clear is CRITICAL.

Standard: §9.1 Encryption in Transit
"""

import dataclasses
import socket
import stat
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cloudlab.config import Config, DatabaseUrls
from cloudlab.embedded import certificates, doctor, doctor_stores, homes, stack
from cloudlab.embedded import postgres as embedded_postgres
from cloudlab.platform import Platform
from embedded.stacks import answers
from fixtures.folders import server_folder
from fixtures.pgbouncer import pooled
from fixtures.postgres import Cluster


async def test_a_stack_speaks_tls_and_nothing_else_by_tcp(state_dir: Path) -> None:
    plain = await stack.up(state_dir)
    runtime = await stack.up(state_dir, tls=True)
    url = runtime.config.control.app_url
    assert conninfo_to_dict(url)["sslmode"] == "verify-full"
    assert await answers(runtime)
    async with await psycopg.AsyncConnection.connect(url) as conn:
        found = await conn.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        assert await found.fetchone() == (True, "TLSv1.3")
    unencrypted = {"sslmode": "disable", "channel_binding": "disable"}
    for change in (unencrypted, {"host": "elsewhere.test"}, {"sslrootcert": "/dev/null"}):
        with pytest.raises(psycopg.OperationalError):
            await psycopg.AsyncConnection.connect(make_conninfo("", **(conninfo_to_dict(url) | change)))
    assert await stack.up(state_dir) == runtime
    await stack.down(state_dir)
    again = await stack.up(state_dir)
    assert again.config == runtime.config
    home = homes.resolve(state_dir)
    assert stat.S_IMODE((home.tls_dir / certificates.KEY).stat().st_mode) == 0o600
    assert [one for one in await doctor(state_dir) if one.level != "OK"] == []
    assert (await stack.up(state_dir, tls=False)).config.control == plain.config.control


def test_certificates_are_renewed_before_they_end(tmp_path: Path) -> None:
    certificates.ensure(tmp_path)
    first = (tmp_path / certificates.CERTIFICATE).read_bytes()
    certificates.ensure(tmp_path)
    assert (tmp_path / certificates.CERTIFICATE).read_bytes() == first
    left = x509.load_pem_x509_certificate(first).not_valid_after_utc - datetime.now(UTC)
    assert 700 < left.days < 731
    certificates.make(tmp_path)
    assert (tmp_path / certificates.CERTIFICATE).read_bytes() != first
    assert not list(tmp_path.glob("ca.key*"))


async def test_pgbouncer_speaks_tls_to_its_clients(config: Config, postgres: Cluster) -> None:
    with server_folder("tls") as (folder, account):
        certificates.make(folder, account)
        with pooled(postgres, config, tls=folder) as led:
            assert conninfo_to_dict(led.shards[0].urls.app_url)["sslmode"] == "verify-full"
            async with Platform.open(led) as platform:
                acme = await platform.create_tenant("acme")
                async with platform.session(acme) as s:
                    assert await s.fetch_tuples("SELECT current_tenant()") == [(acme.tenant_id,)]
            plain = conninfo_to_dict(led.shards[0].urls.app_url) | {"sslmode": "disable"}
            with pytest.raises(psycopg.OperationalError):
                await psycopg.AsyncConnection.connect(make_conninfo("", **plain))


async def test_a_plain_connection_over_a_network_is_critical(config: Config) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address = probe.getsockname()[0]
    with embedded_postgres.temporary(settings={"listen_addresses": address}) as server:
        hba = server.data_dir / "pg_hba.conf"
        hba.write_text(hba.read_text() + "\nhost all all 0.0.0.0/0 scram-sha-256\n")
        with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
            conn.execute("SELECT pg_reload_conf(), pg_sleep(0.1)")
        url = make_conninfo(server.url("postgres"), host=address, sslmode="disable")
        found = await doctor(dataclasses.replace(config, control=DatabaseUrls(url, url, url, url), shards=()))
    assert {(one.check, one.level) for one in found if one.check == "postgres tls"} == {("postgres tls", "CRITICAL")}


@pytest.mark.parametrize(
    ("url", "is_plain"),
    [("redis://:x@cache.test/0", True), ("rediss://:x@cache.test/0", False), ("redis://:x@127.0.0.1/0", False)],
)
def test_a_store_reached_over_a_network_without_tls_is_critical(url: str, is_plain: bool) -> None:
    found = doctor_stores.plain("cache", url, ("rediss", "unix"))
    assert [(one.check, one.level) for one in found] == ([("cache tls", "CRITICAL")] if is_plain else [])
