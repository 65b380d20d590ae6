"""Pure: the configuration document, verify and plan types, errors, units of measure. No I/O in here (law 4)."""
