"""Where the portal listens."""

from __future__ import annotations

import os


def portal_address() -> str:
    """An IPv4 or IPv6 address, without brackets: this machine only, unless ``CENTRALINO_PORTAL_ADDRESS`` says otherwise."""
    return os.environ.get("CENTRALINO_PORTAL_ADDRESS", "127.0.0.1")


def portal_port() -> int:
    """A TCP port: ``CENTRALINO_PORTAL_PORT``, else 8443."""
    return int(os.environ.get("CENTRALINO_PORTAL_PORT", "8443"))
