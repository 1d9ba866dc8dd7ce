"""Run by Alembic: applies the steps to the connection that ``migrations.upgrade`` hands in."""

from alembic import context

from tocsin.store.tables import metadata

connection = context.config.attributes["connection"]
# The caller has begun the transaction that all steps share, and ends it.
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
