"""Where the engine's manager interface is, for every process of ours: the environment says it once.

``CENTRALINO_AMI_PORT``
    its TCP port on 127.0.0.1 (5038)
``CENTRALINO_ENGINE_NETNS``
    the network namespace (``ip netns``) that the engine runs in (none: ours)
``CENTRALINO_FIREWALL``, ``CENTRALINO_VPN``, ``CENTRALINO_TURN``
    ``on``: firewall, tunnels and TURN server of that namespace are the appliance's own, as in the image; else it leaves them alone
"""

from __future__ import annotations

import os

from appliance.core.errors import Fault, InvalidError


def ami_port() -> int:
    """:raises InvalidError: no port number."""
    text = os.environ.get("CENTRALINO_AMI_PORT") or "5038"
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise InvalidError(
            [Fault("CENTRALINO_AMI_PORT", "is no port number", "1 to 65535; the default is 5038", "port")]
        )
    return int(text)


def engine_namespace() -> str | None:
    """Name of the engine's network namespace; None: it runs in ours."""
    return os.environ.get("CENTRALINO_ENGINE_NETNS") or None


def has_firewall() -> bool:
    """Whether the firewall is ours to set."""
    return os.environ.get("CENTRALINO_FIREWALL") == "on"


def has_vpn() -> bool:
    """Whether the voice VPN's daemons run here."""
    return os.environ.get("CENTRALINO_VPN") == "on"


def has_turn() -> bool:
    """Whether the TURN server runs here."""
    return os.environ.get("CENTRALINO_TURN") == "on"
