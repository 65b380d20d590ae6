"""Which networks are never touched, which are ours, which are always kept out.

Of a network that stands in several, the first counts: protected, inside, black.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from appliance.firewall.bans.model import Address, Network

NEVER: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32",
        "::/128", "::1/128", "fe80::/10", "ff00::/8",
    )
)  # fmt: skip
"""This machine, its links and groups: no stranger has such an address, and a ban would hit what it isn't meant for."""


class Networks:
    """Some networks, and whether an address is in one of them: one look for each length of prefix, however many there are."""

    __slots__ = ("_lengths", "_starts", "all")

    def __init__(self, networks: Iterable[Network]) -> None:
        self.all: Final = tuple(
            network
            for version in (4, 6)
            for network in ipaddress.collapse_addresses(sorted(n for n in networks if n.version == version))  # type: ignore[type-var]
        )
        lengths: dict[tuple[int, int], set[int]] = {}
        for network in self.all:
            shift = network.max_prefixlen - network.prefixlen
            lengths.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)
        self._lengths: Final = {
            version: tuple((shift, found) for (of, shift), found in sorted(lengths.items()) if of == version)
            for version in (4, 6)
        }

        self._starts: Final = {
            version: sorted(int(network.network_address) for network in self.all if network.version == version)
            for version in (4, 6)
        }

    def __contains__(self, address: Address) -> bool:
        number = int(address)
        return any(number >> shift in found for shift, found in self._lengths[address.version])

    def overlap(self, network: Network) -> bool:
        """Whether any address of ``network`` is in one of them."""
        if network.network_address in self:
            return True
        starts, first = self._starts[network.version], int(network.network_address)
        after = bisect_left(starts, first)  # the first that begins in it, or behind it
        return after < len(starts) and starts[after] <= int(network.broadcast_address)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the document says, made ready.

    :param protected: never banned or quarantined, and no prefix that overlaps them: lists that allow, management networks, outer
        addresses of tunnels, providers, servers for names and time.
    :param inside: sites and voice networks: a host that misbehaves is quarantined alone, and no prefix that overlaps them is banned.
    :param black: always kept out, by the document's rules; not judged.
    """

    protected: tuple[Network, ...] = ()
    inside: tuple[Network, ...] = ()
    black: tuple[Network, ...] = ()
    never: Networks = field(init=False, compare=False)
    ours: Networks = field(init=False, compare=False)
    shut: Networks = field(init=False, compare=False)
    """The black list without what is protected or inside."""

    def __post_init__(self) -> None:
        never, ours = Networks((*NEVER, *self.protected)), Networks(self.inside)
        spared = (*never.all, *ours.all)
        shut = [rest for network in self.black for rest in _without(network, spared)]
        object.__setattr__(self, "never", never)
        object.__setattr__(self, "ours", ours)
        object.__setattr__(self, "shut", Networks(shut))

    def may_ban(self, network: Network) -> bool:
        """Whether a ban may hit all of it, as strangers."""
        return not self.never.overlap(network) and not self.ours.overlap(network)

    def may_quarantine(self, network: Network) -> bool:
        """Whether it is a host of ours, which isn't protected."""
        return network.prefixlen == network.max_prefixlen and (
            network.network_address in self.ours and network.network_address not in self.never
        )


def _without(network: Network, spared: Iterable[Network]) -> list[Network]:
    """What is left of a network."""
    left: list[Network] = [network]
    for other in spared:
        if other.version != network.version or not other.overlaps(network):
            continue
        rest: list[Network] = []
        for part in left:
            if part.subnet_of(other):  # type: ignore[arg-type]
                continue
            rest += part.address_exclude(other) if other.subnet_of(part) else [part]  # type: ignore[arg-type]
        left = rest
    return left
