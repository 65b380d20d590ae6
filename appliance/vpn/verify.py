"""What must hold between the voice VPN's ends and the networks at them (pure)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.firewall.model import Network, NetworkZone
from appliance.organisation.model import Site
from appliance.pbx.media.model import Listener, Zone
from appliance.vpn.addresses import LARGEST4, LARGEST6, branches, concentrator, networks_of, third_party
from appliance.vpn.model import PORT_MAX, THIRD, Branch, Concentrator

_Net = ipaddress.IPv4Network | ipaddress.IPv6Network
_Claim = tuple[_Net, str, str]
"""A network, the path of the field that claims it, and whose it is in words."""


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    found = sorted(document.all(Concentrator).values(), key=lambda item: item.id)
    for one in found:
        yield from _pools(one)
        if one.port + THIRD > PORT_MAX:
            yield Fault(
                one.path("port"),
                f"leaves no room for {THIRD + 1} daemons, each with the next port",
                f"choose {PORT_MAX - THIRD} or lower",
                "no_ports_left",
            )
        for index, address in enumerate(one.addresses):
            if address.port + THIRD > PORT_MAX:
                yield Fault(
                    one.path(f"addresses[{index}].port"),
                    f"leaves no room for {THIRD + 1} daemons, each with the next port",
                    f"choose {PORT_MAX - THIRD} or lower",
                    "no_ports_left",
                )
    for one in found[1:]:
        yield Fault(one.path(), f"there is a concentrator already, {found[0].id!r}", "keep one", "second_concentrator")
    yield from _twice(document)
    if document.all(Branch) and concentrator(document) is None:
        first = min(document.all(Branch).values(), key=lambda item: item.id)
        yield Fault(
            first.path("site"),
            "comes in by the voice VPN, but no concentrator is in use",
            "add one with the centre's public address, or put the one there is in use",
            "no_concentrator",
            "warning",
        )
    yield from _turned_away(document)
    yield from _hidden(document)
    yield from _overlaps(document)
    yield from _families(document)


def _pools(one: Concentrator) -> Iterator[Fault]:
    pools = [("pool", one.pool, 4, LARGEST4)]
    if one.pool6 is not None:
        pools.append(("pool6", one.pool6, 6, LARGEST6))
    for field, text, version, largest in pools:
        network = ipaddress.ip_network(text)
        if network.version != version:
            yield Fault(one.path(field), f"{text} is not IPv{version}", f"enter an IPv{version} network", "pool_family")
        elif network.prefixlen > largest:
            yield Fault(
                one.path(field),
                f"{text} is too small: {THIRD + 1} daemons with 4,000 branches each must fit",
                f"enter a network of /{largest} or larger",
                "pool_too_small",
            )


def _twice(document: Document) -> Iterator[Fault]:
    sites: dict[str, Branch] = {}
    numbers: dict[int, Branch] = {}
    for branch in sorted(document.all(Branch).values(), key=lambda item: item.id):
        other = sites.setdefault(branch.site, branch)
        if other is not branch:
            yield Fault(branch.path("site"), f"is branch {other.id!r}'s already", "a site comes in once", "site_twice")
        same = numbers.setdefault(branch.number, branch)
        if same is not branch:
            free = next(number for number in range(1, len(numbers) + 2) if number not in numbers)
            yield Fault(
                branch.path("number"), f"is branch {same.id!r}'s already", f"{free} is free", "branch_number_taken"
            )
        if document.find(Site, branch.site) is not None and not any(networks_of(document, branch.site)):
            yield Fault(
                branch.path("site"),
                "has no networks: nothing there can be reached",
                f"enter its networks at {Site.kind}/{branch.site}",
                "site_without_networks",
            )


def _turned_away(document: Document) -> Iterator[Fault]:
    one = concentrator(document)
    if one is not None and not one.third_party:
        for branch in third_party(document).values():
            yield Fault(
                branch.path("router"),
                "is of another maker, and the concentrator lets none of those in",
                f"set third_party at {one.path()}, or give the site an edge of ours",
                "third_party_off",
                "warning",
            )


def _hidden(document: Document) -> Iterator[Fault]:
    """Listeners at the very address that the tunnels go to: a branch can't route that into its tunnel."""
    one = concentrator(document)
    outside = {address.host for address in one.addresses} if one is not None else set()
    for listener in sorted(document.all(Listener).values(), key=lambda item: item.id):
        if listener.zone is not Zone.TRUNKS and listener.address in outside:
            yield Fault(
                listener.path("address"),
                f"{listener.address} is where the tunnels go: branches can't reach it through them",
                "give the listener another address of this machine",
                "listener_outside",
                "warning",
            )


def _overlaps(document: Document) -> Iterator[Fault]:
    """Two claims of one network: packets for it would go to one of them only."""
    claims: list[_Claim] = []
    one = concentrator(document)
    if one is not None:
        for field, text in (("pool", one.pool), ("pool6", one.pool6)):
            if text is not None:
                claims.append((ipaddress.ip_network(text), one.path(field), "the voice VPN's own addresses"))
    for network in sorted(document.all(Network).values(), key=lambda item: item.id):
        if network.zone is NetworkZone.VOICE:
            for index, text in enumerate(network.networks):
                claims.append((ipaddress.ip_network(text), network.path(f"networks[{index}]"), network.path()))
    centre = len(claims)
    for site in branches(document):
        path = f"{Site.kind}/{site}"
        claims += [(net, f"{path}/networks", path) for net in networks_of(document, site)]
    # Sorted, whatever overlaps stands behind what it overlaps with, until one begins behind the end of all before.
    order = sorted(range(len(claims)), key=lambda index: _begin(claims[index][0]))
    open_: list[int] = []
    for index in order:
        net = claims[index][0]
        open_ = [other for other in open_ if _overlap(claims[other][0], net)]
        for other in open_:
            if max(index, other) >= centre and claims[other][2] != claims[index][2]:
                yield _overlapping(claims[max(index, other)], claims[min(index, other)])
        open_.append(index)


def _begin(network: _Net) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


def _overlapping(claim: _Claim, other: _Claim) -> Fault:
    return Fault(
        claim[1],
        f"{claim[0]} overlaps {other[0]} of {other[2]}",
        "give one of them another network: what both have can be reached at one of them only",
        "networks_overlap",
    )


def _overlap(one: _Net, other: _Net) -> bool:
    return one.version == other.version and (one.subnet_of(other) or other.subnet_of(one))  # type: ignore[arg-type]


def _families(document: Document) -> Iterator[Fault]:
    one = concentrator(document)
    if one is None or one.pool6 is not None:
        return
    for site in branches(document):
        if any(network.version == 6 for network in networks_of(document, site)):
            yield Fault(
                one.path("pool6"),
                f"is needed: {Site.kind}/{site} has IPv6 networks",
                "enter a network of your own of /104 or larger, such as fd00:1:2:3::/64",
                "pool6_missing",
            )
            return
