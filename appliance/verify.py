"""Verify the whole document: every fault at once, nothing touched (law 3)."""

from __future__ import annotations

from typing import Final

from appliance.access import verify as _access
from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.core.references import dangling
from appliance.failover import verify as _failover
from appliance.firewall import verify as _firewall
from appliance.notifications import verify as _notifications
from appliance.pbx.emergency import verify as _emergency
from appliance.pbx.extensions import verify as _extensions
from appliance.pbx.groups import verify as _groups
from appliance.pbx.media import verify as _media
from appliance.pbx.numbers import verify as _numbers
from appliance.pbx.routing import verify as _routing
from appliance.pbx.services import verify as _services
from appliance.pbx.trunks import verify as _trunks
from appliance.turn import verify as _turn
from appliance.vpn import verify as _vpn

FEATURES: Final = (
    _media,
    _numbers,
    _extensions,
    _groups,
    _services,
    _trunks,
    _routing,
    _emergency,
    _access,
    _notifications,
    _firewall,
    _vpn,
    _failover,
    _turn,
)


def verify(document: Document) -> tuple[Fault, ...]:
    """All errors: with any of them the document can't be applied."""
    return tuple(fault for fault in check(document) if fault.severity == "error")


def check(document: Document) -> tuple[Fault, ...]:
    """All errors and warnings, dangling references first.

    Features look references up with ``find`` and pass over what leads nowhere: a hole hides nothing else, and no fault is
    invented from it.
    """
    found = (fault for feature in FEATURES for fault in feature.verify(document))
    return tuple(dict.fromkeys((*dangling(document), *found)))  # two objects may give the same reason: it is told once
