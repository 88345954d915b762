"""Alembic's entry: runs migrations on the connection that `migrate` hands over, in the transaction it is in."""

from alembic import context

from track_pipeline.adapters.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
