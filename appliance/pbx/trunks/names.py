"""Which name a trunk's provider is looked up by (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from appliance.names.answers import Question, Resolved
from appliance.pbx.media.model import Transport
from appliance.pbx.trunks.endpoint import is_address
from appliance.pbx.trunks.model import Lookup, Provider, Trunk

SERVICES: Final = {Transport.UDP: "_sip._udp", Transport.TCP: "_sip._tcp", Transport.TLS: "_sips._tcp"}
"""RFC 3263 section 4.1."""
PORTS: Final = {Transport.UDP: 5060, Transport.TCP: 5060, Transport.TLS: 5061}
"""Where SIP is, of a name without SRV records (RFC 3263 section 4.2)."""


def question(trunk: Trunk, provider: Provider) -> Question | None:
    """What to ask name servers for; None: the trunk has an address."""
    if is_address(trunk.host):
        return None
    name = trunk.host.lower().rstrip(".")
    if trunk.lookup is Lookup.SRV:
        transport = Transport(provider.transport)
        return Question.model_validate({"name": name, "service": SERVICES[transport], "port": PORTS[transport]})
    return Question(name=name, port=trunk.port)


def resolved(trunk: Trunk, provider: Provider, names: Mapping[str, Resolved]) -> Resolved:
    """What a trunk's name means; nothing, if it has an address, or if the name isn't known yet."""
    asked = question(trunk, provider)
    return Resolved() if asked is None else names.get(asked.key, Resolved())
