"""Ring groups (hunt groups)."""
