"""The three servers of a stack, behind one shape: find it, start it, ask it, stop it."""

from pathlib import Path
from typing import Protocol

from cloudlab.embedded import certificates, clickhouse, postgres, postgres_logins, valkey
from cloudlab.embedded.accounts import Account
from cloudlab.embedded.homes import Home, private, write_private
from cloudlab.embedded.postgres import PostgresServer
from cloudlab.embedded.postgres_binaries import find_binaries
from cloudlab.embedded.postgres_settings import pg_hba_conf, tls_settings
from cloudlab.embedded.processes import Identity, Mark
from cloudlab.embedded.runtime import Saved, superuser_url


class Part(Protocol):
    """One server of the stack. All functions block."""

    name: str
    identity: Identity

    def start(self, port: int | None) -> tuple[Mark, int]:
        """Start it, on this port if that is free; return its process and its port."""
        ...

    def answers(self, mark: Mark, port: int) -> bool:
        """Tell whether the running process answers as this stack's server."""
        ...

    def prepare(self, port: int) -> str:
        """Make what must be in it (logins, databases) if it is missing; return its version."""
        ...

    def stop(self, mark: Mark | None) -> None:
        """Stop it and clear what a killed one left."""
        ...


class Postgres:
    """PostgreSQL, with its logins and databases."""

    name = "postgres"

    def __init__(self, home: Home, saved: Saved) -> None:
        self._home, self._saved = home, saved
        self._data_dir = home.data_dir / "postgres" / "data"
        self.identity = postgres.identity(self._data_dir)

    def start(self, port: int | None) -> tuple[Mark, int]:
        """Create the cluster if there is none, then start it."""
        binaries = find_binaries()
        account, secret = self._home.account, self._saved.secrets["postgres"]
        if not self._data_dir.exists():
            postgres.initialise(binaries, self._data_dir, password=secret, account=account)
        server = postgres.start(
            binaries,
            self._data_dir,
            socket_dir=self._home.socket_dir,
            log=self._home.logs / "postgres.log",
            port=port,
            account=account,
            settings=self._tls(account),
        )
        return server.mark, server.port

    def _tls(self, account: Account | None) -> dict[str, str]:
        """Make the certificates, and let nobody in without TLS but by the unix socket."""
        if self._saved.tls is None:
            return {}
        write_private(self._data_dir / "pg_hba.conf", pg_hba_conf(tls=self._saved.tls), account)
        if not self._saved.tls:
            return {}
        private(self._home.tls_dir, account)
        certificates.ensure(self._home.tls_dir, account)
        return tls_settings(self._home.tls_dir)

    def answers(self, mark: Mark, port: int) -> bool:
        """Wait while it recovers from a crash of one of its backends."""
        return postgres.answers(PostgresServer(self._data_dir, self._home.socket_dir, port, mark))

    def prepare(self, port: int) -> str:
        """Create what is missing among logins, groups and databases."""
        self._saved.ports[self.name] = port
        url = superuser_url(self._home, self._saved, "template1")
        return postgres_logins.provision(url, [name for name, _ in self._saved.shards], self._saved.secrets)

    def stop(self, mark: Mark | None) -> None:
        """Shut down fast; backends that outlived their server are cleared too."""
        postgres.stop(self._data_dir, mark)


class Valkey:
    """Valkey, with its password."""

    name = "valkey"

    def __init__(self, home: Home, saved: Saved) -> None:
        self._home, self._password = home, saved.secrets["valkey"]
        self._folder: Path = home.data_dir / "valkey"
        self._socket: Path = home.socket_dir / "valkey.sock"
        self.identity = valkey.identity(self._folder)

    def start(self, port: int | None) -> tuple[Mark, int]:
        """Start it and wait until its append-only file is read."""
        server = valkey.start(
            self._folder,
            socket_dir=self._home.socket_dir,
            log=self._home.logs / "valkey.log",
            password=self._password,
            port=port,
            account=self._home.account,
        )
        return server.mark, server.port

    def answers(self, mark: Mark, port: int) -> bool:
        """Ask over its unix socket."""
        return valkey.answers(self._socket, self._password)

    def prepare(self, port: int) -> str:
        """Nothing has to be in a cache."""
        return valkey.version(self._socket, self._password)

    def stop(self, mark: Mark | None) -> None:
        """Sync its append-only file and end it."""
        if mark:
            valkey.stop(self._folder, mark)


class ClickHouse:
    """The owner process of ClickHouse's data."""

    name = "clickhouse"

    def __init__(self, home: Home, saved: Saved) -> None:
        self._home, self._password = home, saved.secrets["clickhouse"]
        self._folder: Path = home.data_dir / "clickhouse"
        self.identity = clickhouse.identity(self._folder)

    def start(self, port: int | None) -> tuple[Mark, int]:
        """Start it; it creates its database itself."""
        server = clickhouse.start(
            self._folder,
            log=self._home.logs / "clickhouse.log",
            password=self._password,
            port=port,
            account=self._home.account,
        )
        return server.mark, server.port

    def answers(self, mark: Mark, port: int) -> bool:
        """Ask over HTTP; a busy one answers too."""
        return bool(clickhouse.ping(port))

    def prepare(self, port: int) -> str:
        """The owner process has made the database."""
        return clickhouse.ping(port)

    def stop(self, mark: Mark | None) -> None:
        """Let running statements finish and close the data."""
        if mark:
            clickhouse.stop(self._folder, mark)


def all_of(home: Home, saved: Saved) -> list[Part]:
    """Return the servers of a stack, in the order they are shown."""
    return [Postgres(home, saved), Valkey(home, saved), ClickHouse(home, saved)]
