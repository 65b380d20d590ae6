"""Emergency calls: they always pass."""
