"""Runs the ledger's migrations from code: no alembic.ini, no command line.

A new one is begun with
`python -c "from alembic import command; from track_pipeline.adapters.ledger.migrate import config;
command.revision(config(), 'what changes', rev_id='0002')"` and filled in by hand.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from track_pipeline.errors import ConfigError


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; migrations run on `connection`, inside its transaction."""
    result = Config(attributes={"connection": connection})
    # Alembic interpolates, so a percent sign in the path has to be doubled.
    result.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    result.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return result


def upgrade(connection: Connection) -> None:
    """Runs the migrations that are lacking.

    Raises ConfigError when a newer version of this software has migrated the ledger.
    """
    try:
        command.upgrade(config(connection), "head")
    except CommandError as error:
        raise ConfigError(
            f"the ledger was written by a newer version of this software ({error}): install that version"
        ) from None
