"""Alembic's entry point: runs migrations on the connection given by `migrate`, inside its transaction."""

from alembic import context

from track_pipeline.adapters.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
