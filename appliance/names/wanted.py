"""Which names a document asks for, and which addresses aren't believed of them (pure)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from appliance.core.document import Document
from appliance.firewall.model import Network, NetworkZone
from appliance.names.answers import Limits, Question
from appliance.organisation.model import Site
from appliance.pbx.media.model import Listener
from appliance.pbx.trunks.model import Provider, Trunk
from appliance.pbx.trunks.names import question
from appliance.vpn.addresses import concentrator


@dataclass(frozen=True, slots=True)
class Wanted:
    """Questions by their key, and what holds for the answers to each."""

    questions: Mapping[str, Question] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)


def wanted(document: Document) -> Wanted:
    """What is to be looked up. Addresses within are believed where a trunk says that calls come from them."""
    own, ours = tuple(dict.fromkeys(_own(document))), tuple(dict.fromkeys(_ours(document)))
    questions: dict[str, Question] = {}
    allowed: dict[str, list[str]] = {}
    for trunk in sorted(document.all(Trunk).values(), key=lambda item: item.id):
        provider = document.find(Provider, trunk.provider)
        asked = question(trunk, provider) if provider is not None else None
        if asked is not None:
            questions[asked.key] = asked
            allowed.setdefault(asked.key, []).extend(trunk.accept_from)
    return Wanted(questions, {key: Limits(own, ours, tuple(allowed[key])) for key in questions})


def _ours(document: Document) -> Iterator[str]:
    for network in document.all(Network).values():
        if network.zone is not NetworkZone.CLIENTS:
            yield from network.networks
    for site in document.all(Site).values():
        yield from site.networks
    one = concentrator(document)
    if one is not None:
        yield from (pool for pool in (one.pool, one.pool6) if pool is not None)


def _own(document: Document) -> Iterator[str]:
    for listener in document.all(Listener).values():
        for text in (listener.address, listener.media_address):
            if text is not None and not ipaddress.ip_address(text).is_unspecified:
                yield str(ipaddress.ip_network(text))
