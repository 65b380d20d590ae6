"""Companies, sites, people and roles: what the whole appliance is about."""
