"""Alembic's entry: runs inside the transaction that the store opened, see appliance/store/database.py."""

from alembic import context

from appliance.store.bans import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
