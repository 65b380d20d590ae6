"""What rules and bans have to know of this installation, and the document doesn't say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from appliance.console.portal_address import portal_port
from appliance.engine.place import has_turn
from appliance.engine.plan import RTP_FIRST, RTP_LAST
from appliance.firewall.promise import Machine


def this_machine(names: Mapping[str, tuple[str, ...]] = MappingProxyType({})) -> Machine:
    """Facts of the machine that asks.

    :param names: addresses of names that the document mentions: what the applier knows, or wrote down for others
        (:func:`appliance.names.keeper.sources_in`).
    """
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores, media = os.cpu_count() or 1, (RTP_FIRST, RTP_LAST)
    return Machine(portal=portal_port(), cores=cores, media=media, names=names, memory=memory, turn=has_turn())
