"""What rules and bans have to know of this installation, and the document doesn't say."""

from __future__ import annotations

import os

from appliance.console.portal_address import portal_port
from appliance.engine.plan import RTP_FIRST, RTP_LAST
from appliance.firewall.promise import Machine


def this_machine() -> Machine:
    """Facts of the machine that asks."""
    return Machine(portal=portal_port(), cores=os.cpu_count() or 1, media=(RTP_FIRST, RTP_LAST))
