"""The settings of the embedded PostgreSQL, and the file they are written to at every start."""

from collections.abc import Mapping
from pathlib import Path

from cloudlab.embedded.certificates import CERTIFICATE, KEY

_HEADER = "# Written at every start. Your own settings belong into ALTER SYSTEM: they win over these."
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "password_encryption": "scram-sha-256",
    # Durability, said aloud: these are the defaults, and `cloudlab doctor` fails when one of them is changed.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_level": "logical",
    "max_wal_size": "2GB",
    # A new file of WAL is not written full of zeros: all commits waited for these 16 MB, 100 to 200 ms each time, when
    # a backfill or an import had used up the files there were. Files that are used again are not concerned.
    "wal_init_zero": "off",
    # A slot whose reader is gone must not fill the disk.
    "max_slot_wal_keep_size": "4GB",
    "shared_buffers": "256MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    "jit": "off",
    # A table that fills fast is planned as an empty one until its first ANALYZE: a minute of that is too long.
    "autovacuum_naptime": "10s",
    "shared_preload_libraries": "pg_stat_statements",
    "track_io_timing": "on",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_lock_waits": "on",
    "log_min_duration_statement": "1s",
    # The parameters of a slow statement may be personal data.
    "log_parameter_max_length": "0",
    "log_timezone": "UTC",
    "timezone": "UTC",
    "datestyle": "iso, ymd",
    "lc_messages": "C",
    "default_text_search_config": "pg_catalog.english",
}
_VOLATILE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def postgresql_conf(socket_dir: Path, port: int, *, volatile: bool, more: Mapping[str, str]) -> str:
    """Return the text of postgresql.conf; `volatile` gives up durability, `more` wins over everything."""
    where = {"port": str(port), "unix_socket_directories": _quoted(str(socket_dir), '"')}
    everything = _SETTINGS | (_VOLATILE if volatile else {}) | where | dict(more)
    return "\n".join([_HEADER, *(f"{name} = {_quoted(value, chr(39))}" for name, value in everything.items())]) + "\n"


def tls_settings(folder: Path) -> dict[str, str]:
    """Return what makes the server speak TLS with the certificates in a folder."""
    return {
        "ssl": "on",
        "ssl_cert_file": str(folder / CERTIFICATE),
        "ssl_key_file": str(folder / KEY),
        "ssl_min_protocol_version": "TLSv1.2",
    }


def pg_hba_conf(*, tls: bool) -> str:
    """Return the text of pg_hba.conf: a password for everybody, and with TLS no connection by TCP without it."""
    host = "hostssl" if tls else "host"
    rows = [
        f"{kind} {database} all {address} scram-sha-256".replace("  ", " ")
        for database in ("all", "replication")
        for kind, address in (("local", ""), (host, "127.0.0.1/32"), (host, "::1/128"))
    ]
    return "\n".join(["# Written by `cloudlab up --tls` and `--no-tls`.", *rows, ""])


def _quoted(value: str, mark: str) -> str:
    return mark + value.replace(mark, mark * 2) + mark
