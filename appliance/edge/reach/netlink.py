"""Addresses, routes of all tables, and neighbours, as the kernel tells everybody who asks (rtnetlink(7)). What it says is read by pure functions."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Final

from appliance.core.errors import UnavailableError
from appliance.edge.reach.way import in_words

TIMEOUT_S: Final = 2.0
_HEAD: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_REQUEST_DUMP: Final = 0x301
_ERROR, _DONE = 2, 3
_ADDRESSES, _ROUTES, _NEIGHBOURS = 22, 26, 30
"""Questions; the answers' types are two less."""
_FAMILIES: Final = {socket.AF_INET: 4, socket.AF_INET6: 16}
_TENTATIVE: Final = 0x40 | 0x08
"""An address that isn't sure to be ours alone yet (or that isn't): nothing can be sent from it."""
_UNICAST: Final = 1
_CLONED: Final = 0x200
_TICKS: Final = os.sysconf("SC_CLK_TCK")
"""Per second, in what the kernel tells of times."""
INCOMPLETE, FAILED = 0x01, 0x20
SETTLING: Final = 0x04 | 0x08 | 0x10
"""States of a neighbour that was there once, and is to be asked or is being asked."""

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Route:
    """``device``: its number; ``gateway`` None: directly."""

    to: ipaddress.IPv4Network | ipaddress.IPv6Network
    device: int
    gateway: Address | None
    metric: int = 0
    table: int = 254


@dataclass(frozen=True, slots=True)
class Neighbour:
    """``heard_s``: seconds since it was there for sure; None: it never was."""

    address: Address
    device: int
    state: int
    heard_s: float | None


def addresses_of(device: int) -> tuple[IPv4Interface | IPv6Interface, ...]:
    """Of an interface, with their networks. :raises UnavailableError: the kernel doesn't tell."""
    return tuple(each for body in _dumped(_ADDRESSES) for number, each in address_in(body) if number == device)


def routes() -> tuple[Route, ...]:
    """Of all tables. :raises UnavailableError: the kernel doesn't tell."""
    return tuple(each for body in _dumped(_ROUTES) for each in routes_in(body))


def neighbour_of(device: int, address: Address) -> Neighbour | None:
    """What is known of a neighbour. :raises UnavailableError: the kernel doesn't tell."""
    bare = ipaddress.ip_address(str(address).partition("%")[0])
    known = (each for body in _dumped(_NEIGHBOURS) for each in neighbour_in(body))
    return next((each for each in known if (each.device, each.address) == (device, bare)), None)


def best(known: Iterable[Route], device: int, to: Address | None, version: int) -> Route | None:
    """The route by a device (pure): the narrowest, of these the one with the least metric. ``to`` None: the default route."""
    bare = None if to is None else ipaddress.ip_address(str(to).partition("%")[0])
    fitting = [
        each for each in known
        if each.device == device and each.to.version == version and (bare in each.to if bare is not None else each.to.prefixlen == 0)
    ]  # fmt: skip
    return min(fitting, key=lambda each: (-each.to.prefixlen, each.table != 254, each.metric), default=None)


# What the kernel says, read


def address_in(body: bytes) -> Iterator[tuple[int, IPv4Interface | IPv6Interface]]:
    """``ifaddrmsg``: number of the interface, address."""
    family, length, flags, _scope, device = struct.unpack_from("=BBBBI", body)
    if family not in _FAMILIES:
        return
    found = _attributes(body[8:])
    more = int.from_bytes(found.get(8, b""), sys.byteorder) | flags
    raw = found.get(2) or found.get(1)
    size = _FAMILIES[socket.AddressFamily(family)]
    if raw is not None and len(raw) == size and length <= 8 * size and not more & _TENTATIVE:
        yield device, ipaddress.ip_interface((raw, length))


def routes_in(body: bytes) -> Iterator[Route]:
    """``rtmsg``: one route, or one for each of its next hops."""
    family, length, _from, _tos, table, _by, _scope, type, flags = struct.unpack_from("=8BI", body)
    if family not in _FAMILIES or type != _UNICAST or flags & _CLONED:
        return
    size, found = _FAMILIES[socket.AddressFamily(family)], _attributes(body[12:])
    raw = found.get(1, bytes(size))
    if len(raw) != size or length > 8 * size:
        return
    to = ipaddress.ip_network((raw, length), strict=False)
    metric, table = _number(found, 6, 0), _number(found, 15, table)
    hops = [(_number(found, 4, 0), found), *_hops(found.get(9, b""))]
    for device, its in hops:
        if device:
            yield Route(to, device, _gateway(its), metric, table)


def neighbour_in(body: bytes) -> Iterator[Neighbour]:
    """``ndmsg``."""
    _family, _, _, device, state, _flags, _type = struct.unpack_from("=BBHiHBB", body)
    found = _attributes(body[12:])
    raw, times = found.get(1, b""), found.get(3, b"")
    if len(raw) in _FAMILIES.values():
        heard = struct.unpack_from("=I", times)[0] / _TICKS if len(times) >= 4 and 2 in found else None
        yield Neighbour(ipaddress.ip_address(raw), device, state, heard)


def _hops(data: bytes) -> Iterator[tuple[int, dict[int, bytes]]]:
    """``rtnexthop``, several."""
    while len(data) >= 8:
        length, _flags, _weight, device = struct.unpack_from("=HBBi", data)
        if not 8 <= length <= len(data):
            return
        yield device, _attributes(data[8:length])
        data = data[(length + 3) & ~3 :]


def _gateway(found: dict[int, bytes]) -> Address | None:
    raw = found.get(5) or found.get(18, b"")[2:]  # RFC 5549: one of IPv6 for a route of IPv4
    return ipaddress.ip_address(raw) if len(raw) in _FAMILIES.values() else None


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= _ATTRIBUTE.size:
        length, type = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            break
        found[type & 0x3FFF] = data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]
    return found


def _number(found: dict[int, bytes], type: int, otherwise: int) -> int:
    return int.from_bytes(found[type], sys.byteorder) if type in found else otherwise


# Asking


def _dumped(question: int) -> Iterator[bytes]:
    """The bodies of all answers."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
            asking.settimeout(TIMEOUT_S)
            asking.bind((0, 0))
            body = bytes(12)
            asking.send(_HEAD.pack(_HEAD.size + len(body), question, _REQUEST_DUMP, 1, 0) + body)
            while True:
                for type, body in _messages(asking.recv(1 << 18)):
                    if type in (_DONE, _ERROR):
                        return
                    if type == question - 2:
                        yield body
    except OSError as error:
        said = in_words(error)
        raise UnavailableError(
            f"the kernel doesn't tell routes and neighbours: {said}", error_id="no_routes"
        ) from error


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEAD.size:
        length, type, _flags, _sequence, _port = _HEAD.unpack_from(data)
        if not _HEAD.size <= length <= len(data):
            return
        yield type, data[_HEAD.size : length]
        data = data[(length + 3) & ~3 :]
