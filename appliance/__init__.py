"""Centralino: an on-premises unified-communications appliance."""
