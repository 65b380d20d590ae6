"""The verbs of the ``centralino`` command, one module per room. Each imports what it needs when it runs: a command starts fast."""
