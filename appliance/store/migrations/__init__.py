"""Changes of what is stored: of its tables (Alembic) and of the document's format (ours)."""
