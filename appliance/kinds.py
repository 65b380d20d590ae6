"""Every kind of the configuration document, in the order in which people read an export."""

from __future__ import annotations

from typing import Final

from appliance.core.model import Object
from appliance.failover.model import WanLine
from appliance.firewall.model import AddressList, Network
from appliance.notifications.model import HistoryExport, NotificationEndpoint
from appliance.organisation.model import (
    Company,
    DirectoryService,
    IdentityProvider,
    Person,
    Role,
    Secret,
    Site,
)
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.groups.model import RingGroup
from appliance.pbx.media.model import CodecPolicy, Listener
from appliance.pbx.numbers.model import ClassOfService, EmergencyPlan, NumberPlan, ServiceCode
from appliance.pbx.routing.model import Did, InboundRoute, OutboundRoute
from appliance.pbx.trunks.model import Provider, Trunk, TrunkGroup
from appliance.turn.model import TurnServer
from appliance.vpn.model import Branch, Concentrator

KINDS: Final[dict[str, type[Object]]] = {
    model.kind: model
    for model in (
        Company,
        Site,
        Person,
        Role,
        NumberPlan,
        EmergencyPlan,
        ClassOfService,
        ServiceCode,
        CodecPolicy,
        Listener,
        Extension,
        Device,
        RingGroup,
        Provider,
        Trunk,
        TrunkGroup,
        Did,
        InboundRoute,
        OutboundRoute,
        NotificationEndpoint,
        HistoryExport,
        Concentrator,
        Branch,
        WanLine,
        TurnServer,
        Network,
        AddressList,
        DirectoryService,
        IdentityProvider,
        Secret,
    )
}
"""Kind name → model."""
