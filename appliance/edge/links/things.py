"""What the kernel knows of lines, in our words: addresses, routes, rules, and the numbers by which they are ours.

Nothing heavy is imported here: the process that speaks with the kernel needs this and little else.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Final

PROTOCOL: Final = 199
"""Of all that is ours in the kernel (``rtm_protocol``, ``IFA_PROTO``, ``FRA_PROTOCOL``): none of linux/rtnetlink.h, nor of iproute2's rt_protos."""
TABLES: Final = 5300
"""Plus a line's number: its table, and the metric of its default routes in the main one."""
MAIN: Final = 254
PRIORITIES: Final = 5300
"""Of our rules: more specific networks first, then for each line mark, interface and sources."""
MARK: Final = 24
"""How far a line's number is shifted left in its mark."""
MASK: Final = 0x0F000000
UNREACHABLE: Final = 2_000_000_000
"""Metric of the route that keeps a line's packets from another line."""
FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}

Ip = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Lease:
    """What a DHCP server gave, as long as it is good."""

    address: IPv4Interface
    gateways: tuple[IPv4Address, ...] = ()
    name_servers: tuple[IPv4Address, ...] = ()
    server: IPv4Address | None = None
    ends_in_s: float | None = None
    """None: never."""


@dataclass(frozen=True, slots=True)
class Address:
    """Of an interface."""

    device: str
    interface: Interface


@dataclass(frozen=True, slots=True)
class Route:
    """``device`` None: unreachable. ``gateway`` None: directly."""

    to: Network
    table: int
    metric: int
    device: str | None = None
    gateway: Ip | None = None

    @property
    def place(self) -> tuple[Network, int, int]:
        """Where there can be one only: another one replaces it."""
        return self.to, self.table, self.metric


@dataclass(frozen=True, slots=True)
class Rule:
    """Leads to a table. ``closer``: but for its default routes."""

    version: int
    priority: int
    table: int
    mark: int | None = None
    device: str | None = None
    source: Ip | None = None
    closer: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """All of it. ``devices``: to be up."""

    devices: frozenset[str] = frozenset()
    addresses: frozenset[Address] = frozenset()
    routes: frozenset[Route] = frozenset()
    rules: frozenset[Rule] = frozenset()


@dataclass(frozen=True, slots=True)
class Device:
    """An interface that is there. ``carrier``: whether its cable leads somewhere."""

    index: int
    up: bool
    carrier: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What the kernel has."""

    devices: dict[str, Device] = field(default_factory=dict)
    addresses: frozenset[Address] = frozenset()
    """All of our interfaces."""
    ours: frozenset[Address] = frozenset()
    """Those with our number, of all interfaces."""
    routes: frozenset[Route] = frozenset()
    """With our number."""
    rules: frozenset[Rule] = frozenset()
    """With our number."""
    advertised: dict[str, tuple[IPv6Address, ...]] = field(default_factory=dict)
    """Routers of IPv6 that told themselves, by interface."""


@dataclass(frozen=True, slots=True)
class Change:
    """To be made, or removed."""

    what: str | Address | Route | Rule
    """A string: an interface that is to be up."""
    made: bool = True


@dataclass(frozen=True, slots=True)
class Failed:
    """A change that the kernel refused."""

    change: Change
    why: str
