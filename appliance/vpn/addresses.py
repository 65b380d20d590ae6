"""Which daemon a branch belongs to, and its addresses within the tunnel (pure). They follow from its number alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Final

from appliance.core.document import Document
from appliance.organisation.model import Site
from appliance.vpn.model import BRANCHES, DAEMONS, THIRD, Branch, Concentrator, Router

PER_DAEMON: Final = 100
"""Branches that one daemon, on one core, is given: eduVPN's advice is 64 to 128."""
PART4: Final = 20
PART6: Final = 108
"""Prefix of one daemon's part of the pool: 4,094 addresses and more, for :data:`BRANCHES` numbers."""
LARGEST4: Final = 16
LARGEST6: Final = 104

INSIDE_PORT: Final = 8194
"""TCP port of the centre's service for edges, at its own addresses within the tunnels (:mod:`appliance.vpn.inside`)."""


def concentrator(document: Document) -> Concentrator | None:
    """The one that is in use; the first by id, should there be several (verify refuses that)."""
    found = sorted(document.all(Concentrator).values(), key=lambda item: item.id)
    return next((each for each in found if each.enabled), None)


def branches(document: Document) -> Mapping[str, Branch]:
    """Branches in use by their site's id, in the order of their numbers."""
    found = sorted(document.all(Branch).values(), key=lambda item: (item.number, item.id))
    return {each.site: each for each in found if each.enabled and document.find(Site, each.site) is not None}


def ours(document: Document) -> Mapping[str, Branch]:
    """Those of :func:`branches` with an edge of ours."""
    return {site: each for site, each in branches(document).items() if each.router is Router.OURS}


def third_party(document: Document) -> Mapping[str, Branch]:
    """Those of :func:`branches` with a router of another maker, whether they are let in or not."""
    return {site: each for site, each in branches(document).items() if each.router is Router.THIRD_PARTY}


def daemons_for(number: int, cores: int) -> int:
    """How many daemons a number of branches is given on a machine with so many cores."""
    return max(1, min(DAEMONS, cores, -(-number // PER_DAEMON)))


def home(branch: Branch, number: int) -> int:
    """The daemon that a branch belongs to, of so many (for our own edges)."""
    return THIRD if branch.router is Router.THIRD_PARTY else (branch.number - 1) % number


def tunnel_ports(document: Document, cores: int) -> tuple[int, ...]:
    """UDP ports that the daemons listen at; none without a concentrator."""
    one = concentrator(document)
    if one is None:
        return ()
    number = daemons_for(len(ours(document)), cores)
    return (*range(one.port, one.port + number), *((one.port + THIRD,) if one.third_party else ()))


def neighbours(document: Document) -> frozenset[tuple[str, str]]:
    """Sites that reach each other through the centre: each pair twice, either way round."""
    found = branches(document)
    pairs = {(site, other) for site, branch in found.items() for other in branch.reaches if other in found}
    return frozenset((a, b) for one in pairs for a, b in (one, one[::-1]) if a != b)


def part4(pool: str, daemon: int) -> ipaddress.IPv4Network:
    """A daemon's part of the pool. :raises ValueError: the pool is too small (verify refuses it)."""
    network = ipaddress.IPv4Network(pool)
    if network.prefixlen > LARGEST4:
        msg = f"{pool} is smaller than /{LARGEST4}"
        raise ValueError(msg)
    base = int(network.network_address) + daemon * (1 << (32 - PART4))
    return ipaddress.IPv4Network((base, PART4))


def part6(pool: str, daemon: int) -> ipaddress.IPv6Network:
    """The same for IPv6."""
    network = ipaddress.IPv6Network(pool)
    if network.prefixlen > LARGEST6:
        msg = f"{pool} is smaller than /{LARGEST6}"
        raise ValueError(msg)
    base = int(network.network_address) + daemon * (1 << (128 - PART6))
    return ipaddress.IPv6Network((base, PART6))


def own_addresses(one: Concentrator, daemon: int) -> tuple[str, ...]:
    """A daemon's own addresses within its tunnel: IPv4, and IPv6 where there is a pool of it."""
    found: tuple[str, ...] = (str(part4(one.pool, daemon)[1]),)
    return found if one.pool6 is None else (*found, str(part6(one.pool6, daemon)[1]))


def address_in(part: ipaddress.IPv4Network | ipaddress.IPv6Network, number: int) -> str:
    """A branch's address in its daemon's part: the first is the daemon's own, the next is number 1's.

    :raises ValueError: no such number.
    """
    if not 1 <= number <= BRANCHES:
        msg = f"{number} isn't 1 to {BRANCHES}"
        raise ValueError(msg)
    return str(part[number + 1])


def networks_of(document: Document, site: str) -> Iterator[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """A site's networks, as they are routed into its tunnel."""
    found = document.find(Site, site)
    for text in found.networks if found is not None else ():
        network = ipaddress.ip_network(text)
        if not network.is_loopback:
            yield network
