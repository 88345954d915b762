"""Runs the ledger's migrations from code, without alembic.ini or Alembic's command line.

Create a new migration with
`python -c "from alembic import command; from track_pipeline.adapters.ledger.migrate import config;
command.revision(config(), 'what changes', rev_id='0002')"`, then write its statements by hand.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from track_pipeline.errors import ConfigError


def config(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration; migrations run on `connection`, inside its transaction."""
    result = Config(attributes={"connection": connection})
    # Alembic interpolates options, so a percent sign in the path must be doubled.
    result.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    result.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    return result


def upgrade(connection: Connection) -> None:
    """Run the missing migrations.

    Raises ConfigError when a newer version of this software has migrated the ledger.
    """
    try:
        command.upgrade(config(connection), "head")
    except CommandError as error:
        raise ConfigError(
            f"the ledger was written by a newer version of this software ({error}): install that version"
        ) from None
