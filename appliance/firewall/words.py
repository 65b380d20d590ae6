"""What people call the firewall's services and the places where somebody tried to get in (pure). For commands and portal; English message
ids, which both translate."""

from __future__ import annotations

from typing import Final

from appliance.firewall.bans import model as bans
from appliance.firewall.promise import Service
from appliance.i18n import later

SERVICES: Final[dict[str, str]] = {
    Service.SIP: later("Telephone (SIP)"),
    Service.MEDIA: later("Voice packets"),
    Service.PORTAL: later("Portal"),
    Service.SSH: later("SSH"),
    Service.TURN: later("Voice of browsers (TURN)"),
    Service.PROVISIONING: later("Provisioning of phones"),
    Service.ENROLMENT: later("Enrolment of branches"),
    Service.VPN: later("Voice VPN"),
    Service.EDGES: later("Service for edges"),
}
"""What an opening is good for."""

TRIED: Final[dict[str, str]] = {
    bans.Service.SIP: later("telephone (SIP)"),
    bans.Service.PORTAL: later("portal"),
    bans.Service.API: later("API"),
    bans.Service.PROVISIONING: later("provisioning"),
    bans.Service.VPN: later("voice VPN"),
    bans.Service.DROPPED: later("a closed door"),
}
"""Where an attempt was made."""
