"""What tests of events share."""

from collections.abc import Callable

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from fixtures.postgres import Cluster


@pytest.fixture
def postgres_superuser(postgres: Cluster) -> Callable[[str], psycopg.Connection]:
    """Connects to the database of a URL as the superuser, whom no trigger and no policy binds."""

    def connect(url: str) -> psycopg.Connection:
        return psycopg.connect(postgres.url(str(conninfo_to_dict(url)["dbname"]), "postgres"), autocommit=True)

    return connect
