"""Addresses and networks as the numbers that they are counted by.

A stranger is counted by address (IPv4) or /64 (IPv6: what one customer gets at least, RFC 6177); a host of ours alone. A number tells its
network: of an IPv4 address it is the address; of all others the length of the prefix stands above 128 bits of address.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

from appliance.firewall.bans.model import Address, Network

V4_WIDE: Final = 24
V6_STRANGER: Final = 64
V6_WIDE: Final = 56
_V4_BITS: Final = 32
_ABOVE: Final = 128
_V4_MARK: Final = 1 << 136
_LOW64: Final = (1 << 64) - 1
_STRANGER6: Final = V6_STRANGER << _ABOVE


def stranger(address: Address) -> int:
    """What a stranger is counted by."""
    if address.version == 4:
        return int(address)
    return _STRANGER6 | int(address) & ~_LOW64


def host(address: Address) -> int:
    """What a host of ours is counted by: itself."""
    return int(address) if address.version == 4 else 128 << _ABOVE | int(address)


def of(network: Network) -> int:
    """The number of a network."""
    number = int(network.network_address)
    if network.version == 4:
        return number if network.prefixlen == _V4_BITS else _V4_MARK | network.prefixlen << _ABOVE | number
    return network.prefixlen << _ABOVE | number


def network(key: int) -> Network:
    """The network of a number."""
    if key < 1 << _V4_BITS:
        return ipaddress.IPv4Network(key)
    number, length = key & (1 << _ABOVE) - 1, key >> _ABOVE & 0xFF
    if key & _V4_MARK:
        return ipaddress.IPv4Network((number, length))
    return ipaddress.IPv6Network((number, length))


def wide(key: int) -> int | None:
    """What is banned when an attack moves about in it: the /24 or /56 of a stranger's number; None: it can't get wider."""
    if key < 1 << _V4_BITS:
        return _V4_MARK | V4_WIDE << _ABOVE | key >> 8 << 8
    if key >> _ABOVE == V6_STRANGER:
        number = key & (1 << _ABOVE) - 1
        return V6_WIDE << _ABOVE | number >> 72 << 72
    return None


def around(part: Network) -> int | None:
    """The number of the /24 or /56 that a network is a part of; None: it is no part, but as wide or wider."""
    longest = V4_WIDE if part.version == 4 else V6_WIDE
    return wide(stranger(part.network_address)) if part.prefixlen > longest else None


def members(wider: int) -> Iterator[int]:
    """The 256 strangers' numbers of a wide one."""
    number = wider & (1 << _ABOVE) - 1
    if wider & _V4_MARK:
        yield from range(number, number + 256)
    else:
        yield from (_STRANGER6 | number | n << 64 for n in range(256))


def touch(key: int, other: Network) -> bool:
    """Whether the network of a number and another have an address in common."""
    v4 = key < 1 << _V4_BITS or bool(key & _V4_MARK)
    if v4 is not (other.version == 4):
        return False
    bits = _V4_BITS if v4 else _ABOVE
    length = bits if key < 1 << _V4_BITS else key >> _ABOVE & 0xFF
    shift = bits - min(length, other.prefixlen)
    return (key & (1 << _ABOVE) - 1) >> shift == int(other.network_address) >> shift
