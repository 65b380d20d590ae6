"""Trunks: lines to providers."""
