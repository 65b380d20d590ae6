"""Which listener belongs to a trunk (pure)."""

from __future__ import annotations

import ipaddress

from appliance.core.document import Document
from appliance.pbx.media.model import Listener, Transport, Zone
from appliance.pbx.trunks.endpoint import is_address
from appliance.pbx.trunks.model import Provider, Trunk


def listener_for(document: Document, trunk: Trunk, provider: Provider) -> Listener | None:
    """The listener that a trunk's calls leave by: of its transport and address family; the one that its provider names,
    else one for trunks if there is."""
    version = ipaddress.ip_address(trunk.host).version if is_address(trunk.host) else 4
    fitting = [
        listener
        for listener in document.all(Listener).values()
        if provider.listener in (None, listener.id)
        and listener.transport is Transport(provider.transport)
        and ipaddress.ip_address(listener.address).version == version
    ]
    return min(fitting, key=lambda listener: (listener.zone is not Zone.TRUNKS, listener.id), default=None)
