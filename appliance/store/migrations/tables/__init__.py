"""Alembic's scripts for the document's tables."""
