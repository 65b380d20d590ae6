"""Numbers: the internal plan, normalisation to E.164, classes of service, emergency numbers, service codes."""
