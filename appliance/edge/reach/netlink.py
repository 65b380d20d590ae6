"""Addresses, routes of all tables, and neighbours, as the kernel tells everybody who asks (rtnetlink(7)). What it says is read by pure functions.

pyroute2 speaks with the kernel. It is loaded when something is asked first: it takes 0.1 s and 8 MB, and most of what runs at an edge asks nothing.

What happens when…

* only one thing is wanted: the kernel picks it out (strict checking), and tells no more;
* the interface has gone: it has no addresses;
* an attribute can't be read: what it belongs to is left out;
* the kernel answers nothing: it is said after ``TIMEOUT_S``.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any, Final

from appliance.core.errors import UnavailableError
from appliance.edge.reach.way import in_words

TIMEOUT_S: Final = 2.0
_VERSIONS: Final = {socket.AF_INET: 4, socket.AF_INET6: 6}
_ANYWHERE: Final = {4: "0.0.0.0", 6: "::"}  # noqa: S104 (nothing is bound to it)
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
    """``heard_s``: seconds since it was there for sure; None: it never was. ``hardware``: its address there; empty: not known."""

    address: Address
    device: int
    state: int
    heard_s: float | None
    hardware: str = ""


def addresses_of(device: int) -> tuple[IPv4Interface | IPv6Interface, ...]:
    """Of an interface, with their networks. :raises UnavailableError: the kernel doesn't tell."""
    from pyroute2.netlink.rtnl import RTM_GETADDR
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

    said = _asked(ifaddrmsg().load({"family": socket.AF_UNSPEC, "index": device}), RTM_GETADDR)
    return tuple(each for told in said for number, each in address_in(told) if number == device)


def routes() -> tuple[Route, ...]:
    """Of all tables. :raises UnavailableError: the kernel doesn't tell."""
    from pyroute2.netlink.rtnl import RTM_GETROUTE
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

    said = _asked(rtmsg().load({"family": socket.AF_UNSPEC, "type": _UNICAST}), RTM_GETROUTE)
    return tuple(each for told in said for each in routes_in(told))


def neighbour_of(device: int, address: Address) -> Neighbour | None:
    """What is known of a neighbour. :raises UnavailableError: the kernel doesn't tell."""
    from pyroute2.netlink.rtnl import RTM_GETNEIGH
    from pyroute2.netlink.rtnl.ndmsg import ndmsg

    bare = ipaddress.ip_address(str(address).partition("%")[0])
    family = socket.AF_INET if bare.version == 4 else socket.AF_INET6
    wanted = ndmsg().load({"family": family, "ifindex": device, "attrs": [["NDA_DST", str(bare)]]})
    said = _asked(wanted, RTM_GETNEIGH, all=False)
    return next((each for told in said for each in neighbour_in(told)), None)


def neighbours() -> tuple[Neighbour, ...]:
    """All that are known. :raises UnavailableError: the kernel doesn't tell."""
    from pyroute2.netlink.rtnl import RTM_GETNEIGH
    from pyroute2.netlink.rtnl.ndmsg import ndmsg

    said = _asked(ndmsg().load({"family": socket.AF_UNSPEC}), RTM_GETNEIGH)
    return tuple(each for told in said for each in neighbour_in(told))


def best(known: Iterable[Route], device: int, to: Address | None, version: int) -> Route | None:
    """The route by a device (pure): the narrowest, of these the one with the least metric. ``to`` None: the default route."""
    bare = None if to is None else ipaddress.ip_address(str(to).partition("%")[0])
    fitting = [
        each for each in known
        if each.device == device and each.to.version == version and (bare in each.to if bare is not None else each.to.prefixlen == 0)
    ]  # fmt: skip
    return min(fitting, key=lambda each: (-each.to.prefixlen, each.table != 254, each.metric), default=None)


# What the kernel says, read


def address_in(told: Any) -> Iterator[tuple[int, IPv4Interface | IPv6Interface]]:
    """``ifaddrmsg``: number of the interface, address."""
    version = _VERSIONS.get(told["family"])
    flags = told["flags"] | _number(told, "IFA_FLAGS")
    own = _address(told.get_attr("IFA_LOCAL") or told.get_attr("IFA_ADDRESS"))
    if own is None or own.version != version or told["prefixlen"] > own.max_prefixlen or flags & _TENTATIVE:
        return
    yield told["index"], ipaddress.ip_interface((own.packed, told["prefixlen"]))


def routes_in(told: Any) -> Iterator[Route]:
    """``rtmsg``: one route, or one for each of its next hops."""
    version = _VERSIONS.get(told["family"])
    if version is None or told["type"] != _UNICAST or told["flags"] & _CLONED:
        return
    start = _address(told.get_attr("RTA_DST", _ANYWHERE[version]))
    if start is None or start.version != version or told["dst_len"] > start.max_prefixlen:
        return
    to = ipaddress.ip_network((start.packed, told["dst_len"]), strict=False)
    metric, table = _number(told, "RTA_PRIORITY"), _number(told, "RTA_TABLE", told["table"])
    several = told.get_attr("RTA_MULTIPATH")
    hops = [(hop["oif"], hop) for hop in several] if isinstance(several, list) else []
    for device, its in [(_number(told, "RTA_OIF"), told), *hops]:
        if device:
            yield Route(to, device, _gateway(its), metric, table)


def neighbour_in(told: Any) -> Iterator[Neighbour]:
    """``ndmsg``."""
    address = _address(told.get_attr("NDA_DST"))
    if address is None:
        return
    ticks = told.get(("NDA_CACHEINFO", "ndm_confirmed"))
    hardware = told.get_attr("NDA_LLADDR")
    heard = ticks / _TICKS if isinstance(ticks, int) and hardware is not None else None
    yield Neighbour(address, told["ifindex"], told["state"], heard, hardware if isinstance(hardware, str) else "")


def _gateway(told: Any) -> Address | None:
    """Of a route or of one of its next hops; of IPv6 for a route of IPv4 too (RFC 5549)."""
    found = told.get_attr("RTA_GATEWAY")
    return _address(told.get(("RTA_VIA", "addr")) if found is None else found)


def _address(told: object) -> Address | None:
    """None: there is none, or it can't be read (pyroute2 gives its bytes then)."""
    try:
        return ipaddress.ip_address(told) if isinstance(told, str) else None
    except ValueError:
        return None


def _number(told: Any, attribute: str, otherwise: int = 0) -> int:
    found = told.get_attr(attribute)
    return found if isinstance(found, int) else otherwise


# Asking


def _asked(question: Any, type: int, *, all: bool = True) -> list[Any]:
    """All that fits a question, or one that is meant; none: there is no such thing."""
    from pyroute2 import AsyncIPRSocket
    from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST
    from pyroute2.netlink.exceptions import NetlinkError

    async def ask() -> list[Any]:
        async with asyncio.timeout(TIMEOUT_S), AsyncIPRSocket(strict_check=True, ext_ack=True) as kernel:
            answers = await kernel.nlm_request(question, type, NLM_F_REQUEST | (NLM_F_DUMP if all else 0))
            return [each async for each in answers]

    try:
        return asyncio.run(ask())
    except NetlinkError as error:
        if error.code in (errno.ENOENT, errno.ENODEV):
            return []
        raise _untold(error.code) from error
    except TimeoutError as error:
        raise _untold(errno.ETIMEDOUT) from error
    except OSError as error:
        raise _untold(error.errno or errno.EIO) from error


def _untold(code: int) -> UnavailableError:
    said = in_words(OSError(code, os.strerror(code)))
    return UnavailableError(f"the kernel doesn't tell routes and neighbours: {said}", error_id="no_routes")
