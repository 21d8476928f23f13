"""Alembic's way in; monitoring.store.schema hands over the connection, whose transaction all migrations share."""

from alembic import context

from monitoring.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
