"""Slice and leases → what the kernel should have of our lines (pure).

For each line a routing table of its own with its default routes, and *unreachable* below them: what is sent by a line never
leaves by another. Three rules lead to it: the line's mark, a socket that is bound to its interface, and its own addresses as a source.
Networks that are known more closely (the site's own, the tunnel's) come first, by the main table without its default routes. Whatever
names no line goes by the main table: there each line has a default route too, the first line's is preferred.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network
from typing import Final

from appliance.edge.links.things import (
    FAMILIES,
    MAIN,
    MARK,
    PRIORITIES,
    TABLES,
    UNREACHABLE,
    Address,
    Interface,
    Ip,
    Lease,
    Route,
    Rule,
    Wanted,
)
from appliance.failover.model import DhcpAccess
from appliance.vpn.slices.model import Link

_ANYWHERE: Final = {4: ip_network("0.0.0.0/0"), 6: ip_network("::/0")}


def wanted(
    links: Iterable[Link], leases: Mapping[str, Lease | None], advertised: Mapping[str, tuple[IPv6Address, ...]]
) -> Wanted:
    """What the kernel should have.

    :param leases: by interface; :param advertised: routers of IPv6 that told themselves, by interface; of lines with DHCP they are used.
    """
    addresses: set[Address] = set()
    routes: set[Route] = set()
    rules: set[Rule] = set()
    devices: set[str] = set()
    for link in links:
        devices.add(link.device)
        own, gateways = _of(link, leases.get(link.device), advertised.get(link.device, ()))
        addresses |= {Address(link.device, each) for each in own}
        routes |= set(_routes(link, gateways))
        rules |= set(_rules(link, own))
    if devices:
        rules |= {Rule(version, PRIORITIES, MAIN, closer=True) for version in FAMILIES}
    return Wanted(frozenset(devices), frozenset(addresses), frozenset(routes), frozenset(rules))


def table_of(line: int) -> int:
    """A line's routing table."""
    return TABLES + line


def mark_of(line: int) -> int:
    """A line's mark, under :data:`MASK`."""
    return line << MARK


def _of(link: Link, lease: Lease | None, advertised: tuple[IPv6Address, ...]) -> tuple[list[Interface], list[Ip]]:
    """A line's addresses, and its gateways."""
    if isinstance(link.access, DhcpAccess):
        # The kernel itself makes addresses from advertisements.
        return ([lease.address], [*lease.gateways[:1], *advertised[:1]]) if lease else ([], list(advertised[:1]))
    return [ip_interface(each) for each in link.access.addresses], [ip_address(each) for each in link.access.gateways]


def _routes(link: Link, gateways: list[Ip]) -> Iterator[Route]:
    table = table_of(link.number)
    for anywhere in _ANYWHERE.values():
        yield Route(anywhere, table, UNREACHABLE)
    for gateway in gateways:
        anywhere = _ANYWHERE[gateway.version]
        yield Route(anywhere, table, 1, link.device, gateway)
        if gateway.version == 4 or not isinstance(link.access, DhcpAccess):  # what was advertised is there already
            yield Route(anywhere, MAIN, table, link.device, gateway)


def _rules(link: Link, own: list[Interface]) -> Iterator[Rule]:
    table, first = table_of(link.number), PRIORITIES + 10 * link.number
    for version in FAMILIES:
        yield Rule(version, first, table, mark=mark_of(link.number))
        yield Rule(version, first + 1, table, device=link.device)
    for each in own:
        yield Rule(each.version, first + 2, table, source=each.ip)
