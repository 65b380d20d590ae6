"""What rules and bans have to know of this installation, and the document doesn't say."""

from __future__ import annotations

import os
from collections.abc import Mapping

from appliance.console.portal_address import portal_port
from appliance.engine.plan import RTP_FIRST, RTP_LAST
from appliance.firewall.promise import Machine


def this_machine(names: Mapping[str, tuple[str, ...]]) -> Machine:
    """Facts of the machine that asks.

    :param names: addresses of names that the document mentions: what the applier knows, or wrote down for others
        (:func:`appliance.names.keeper.sources_in`).
    """
    return Machine(portal=portal_port(), cores=os.cpu_count() or 1, media=(RTP_FIRST, RTP_LAST), names=names)
