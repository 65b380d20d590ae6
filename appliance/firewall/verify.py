"""What must hold between networks, address lists and the rest (pure)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from typing import Final

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.core.model import Object
from appliance.firewall.model import AddressList, ListAction, Network, NetworkZone
from appliance.organisation.model import Site
from appliance.pbx.trunks.model import Provider, Trunk

WIDEST: Final = {4: 8, 6: 16}
"""Shortest prefix of a network of phones or administrators: 10.0.0.0/8 is the largest private one (RFC 1918). What is wider
would open them to the internet, in one piece or in two."""

_Net = ipaddress.IPv4Network | ipaddress.IPv6Network


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    networks = sorted(document.all(Network).values(), key=lambda item: item.id)
    for network in networks:
        if network.zone is not NetworkZone.CLIENTS:
            yield from _too_wide(network, "networks", network.networks)
    for trunk in sorted(document.all(Trunk).values(), key=lambda item: item.id):
        yield from _too_wide(trunk, "accept_from", trunk.accept_from)
    for provider in sorted(document.all(Provider).values(), key=lambda item: item.id):
        yield from _too_wide(provider, "media_networks", provider.media_networks)
    yield from _blocked(document, networks)
    yield from _both(document)
    if networks and all(each.zone is not NetworkZone.MANAGEMENT for each in networks):
        yield Fault(
            networks[0].path("zone"),
            "no network is for management: where the firewall is in force, nobody reaches SSH",
            "add a network with zone management: the one that administrators sit in",
            "no_management_network",
            "warning",
        )


def _too_wide(item: Object, field: str, networks: Iterable[str]) -> Iterator[Fault]:
    for index, text in enumerate(networks):
        found = ipaddress.ip_network(text)
        if found.prefixlen < WIDEST[found.version]:
            yield Fault(
                item.path(f"{field}[{index}]"),
                f"{text} is too wide: SIP, voice or SSH would be open to the internet",
                f"name the networks themselves, /{WIDEST[found.version]} at the widest",
                "network_too_wide",
            )


def _blocked(document: Document, networks: list[Network]) -> Iterator[Fault]:
    """A list that would shut out our own."""
    ours = [(each.path(), text) for each in networks if each.zone is not NetworkZone.CLIENTS for text in each.networks]
    ours += [(site.path(), text) for site in document.all(Site).values() for text in site.networks]
    own = [(path, ipaddress.ip_network(text)) for path, text in sorted(ours)]
    for listed in sorted(document.all(AddressList).values(), key=lambda item: item.id):
        if listed.action is not ListAction.BLOCK:
            continue
        for index, text in enumerate(listed.networks):
            hit = next((path for path, net in own if _overlap(net, ipaddress.ip_network(text))), None)
            if hit is not None:
                yield Fault(
                    listed.path(f"networks[{index}]"),
                    f"{text} would shut out {hit}",
                    "take it out of the list, or name less of it",
                    "blocks_our_own",
                )


def _both(document: Document) -> Iterator[Fault]:
    """What one list blocks and another allows: it is blocked."""
    lists = sorted(document.all(AddressList).values(), key=lambda item: item.id)
    allowed = [
        (each, ipaddress.ip_network(text))
        for each in lists
        if each.action is ListAction.ALLOW
        for text in each.networks
    ]
    for listed in lists:
        if listed.action is ListAction.BLOCK:
            for index, text in enumerate(listed.networks):
                other = next((each for each, net in allowed if _overlap(net, ipaddress.ip_network(text))), None)
                if other is not None:
                    yield Fault(
                        listed.path(f"networks[{index}]"),
                        f"{text} is blocked here and allowed by {other.path()}: it is blocked",
                        "leave it in one of the two lists",
                        "allowed_and_blocked",
                        "warning",
                    )


def _overlap(one: _Net, other: _Net) -> bool:
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return one.overlaps(other)
    if isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return one.overlaps(other)
    return False
