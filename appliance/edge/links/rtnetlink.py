"""``python -m appliance.edge.links.rtnetlink``: reads or changes the kernel's addresses, routes and rules by pyroute2 (rtnetlink(7)), and ends.

What it is asked for comes by standard input, what it found leaves by standard output: pickled, for the other end is always
:class:`appliance.edge.links.kernel.Kernel`. A process of its own, because pyroute2 takes 9 MB, and is needed when something changes.
Changing needs CAP_NET_ADMIN.
"""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import socket
import sys
from collections.abc import Callable, Coroutine
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network
from typing import Any, Final

from pyroute2 import AsyncIPRoute
from pyroute2.netlink.exceptions import NetlinkError

from appliance.edge.links.things import (
    FAMILIES,
    MAIN,
    MASK,
    PROTOCOL,
    Address,
    Change,
    Device,
    Failed,
    Found,
    Route,
    Rule,
)
from appliance.edge.reach.way import in_words

TIMEOUT_S: Final = 5.0
_UP, _LOWER_UP = 0x1, 0x10000
_UNREACHABLE: Final = 7
_ADVERTISED: Final = 9
"""``RTPROT_RA``."""
_ANYWHERE: Final = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 (nothing is bound to it)


def main() -> None:
    """See this module. Exit status 1, and why as the last line on standard error: the kernel says nothing."""
    what, arguments = pickle.load(sys.stdin.buffer)  # noqa: S301 (our own parent wrote it)
    deeds: dict[str, Callable[..., Coroutine[Any, Any, Any]]] = {"read": read, "change": change}

    async def bounded() -> Any:
        async with asyncio.timeout(TIMEOUT_S):
            return await deeds[what](*arguments)

    try:
        found = asyncio.run(bounded())
    except NetlinkError as error:
        sys.exit(_why(error.code))
    except TimeoutError:
        sys.exit(_why(errno.ETIMEDOUT))
    except OSError as error:
        sys.exit(_why(error.errno or errno.EIO))
    sys.stdout.buffer.write(pickle.dumps(found))


def _why(code: int) -> str:
    return in_words(OSError(code, os.strerror(code)))


# Reading


async def read(devices: frozenset[str]) -> Found:
    """What the kernel has of these interfaces, and of all that is ours."""
    async with AsyncIPRoute(strict_check=True, ext_ack=True) as kernel:
        there = {
            name: Device(told["index"], bool(told["flags"] & _UP), bool(told["flags"] & _LOWER_UP))
            async for told in await kernel.link("dump")
            if (name := told.get_attr("IFLA_IFNAME")) is not None
        }
        names = {device.index: name for name, device in there.items()}
        addresses = [told async for told in await kernel.addr("dump")]
        routes = [told for family in FAMILIES.values() async for told in await kernel.route("dump", family=family)]
        rules = [told for family in FAMILIES.values() async for told in await kernel.rule("dump", family=family)]
    found = [
        (address, told.get_attr("IFA_PROTO") == PROTOCOL) for told in addresses if (address := _address(told, names))
    ]
    advertised: dict[str, tuple[IPv6Address, ...]] = {}
    for told in routes:
        router = _router(told)
        name = names.get(told.get_attr("RTA_OIF") or 0, "")
        if router is not None and name in devices:
            advertised[name] = (*advertised.get(name, ()), router)
    return Found(
        {name: device for name, device in there.items() if name in devices},
        frozenset(address for address, _ours in found if address.device in devices),
        frozenset(address for address, ours in found if ours),
        frozenset(route for told in routes if told["proto"] == PROTOCOL and (route := _route(told, names))),
        frozenset(rule for told in rules if told.get_attr("FRA_PROTOCOL") == PROTOCOL and (rule := _rule(told))),
        advertised,
    )


def _address(told: Any, names: dict[int, str]) -> Address | None:
    text = told.get_attr("IFA_LOCAL") or told.get_attr("IFA_ADDRESS")
    if not isinstance(text, str) or told["index"] not in names:
        return None
    return Address(names[told["index"]], ip_interface(f"{text}/{told['prefixlen']}"))


def _route(told: Any, names: dict[int, str]) -> Route | None:
    start = told.get_attr("RTA_DST", _ANYWHERE[told["family"]])
    gateway = told.get_attr("RTA_GATEWAY")
    return Route(
        ip_network(f"{start}/{told['dst_len']}"), told.get_attr("RTA_TABLE", told["table"]), told.get_attr("RTA_PRIORITY") or 0,
        None if told["type"] == _UNREACHABLE else names.get(told.get_attr("RTA_OIF") or 0, "?"),
        None if gateway is None else ip_address(gateway),
    )  # fmt: skip


def _rule(told: Any) -> Rule:
    source = told.get_attr("FRA_SRC")
    return Rule(
        6 if told["family"] == socket.AF_INET6 else 4, told.get_attr("FRA_PRIORITY") or 0, told.get_attr("FRA_TABLE") or 0,
        told.get_attr("FRA_FWMARK"), told.get_attr("FRA_OIFNAME"), None if source is None else ip_address(source),
        told.get_attr("FRA_SUPPRESS_PREFIXLEN") == 0,
    )  # fmt: skip


def _router(told: Any) -> IPv6Address | None:
    """Who told itself a router, if that is what a route is of."""
    if told["proto"] != _ADVERTISED or told["dst_len"] or told.get_attr("RTA_TABLE", told["table"]) != MAIN:
        return None
    gateway = told.get_attr("RTA_GATEWAY")
    return IPv6Address(gateway) if isinstance(gateway, str) and ":" in gateway else None


# Changing


async def change(changes: list[Change], devices: dict[str, Device]) -> tuple[Failed, ...]:
    """One after the other; those that the kernel refused."""
    from pyroute2 import AsyncIPRoute

    failed = []
    async with AsyncIPRoute(strict_check=True, ext_ack=True) as kernel:
        for each in changes:
            try:
                await _one(kernel, each, devices)
            except NetlinkError as error:
                there_already = error.code == (errno.EEXIST if each.made else errno.ESRCH)
                gone_already = not each.made and error.code in (errno.ENOENT, errno.EADDRNOTAVAIL, errno.ENODEV)
                if not there_already and not gone_already:
                    failed.append(Failed(each, _why(error.code)))
    return tuple(failed)


async def _one(kernel: Any, change: Change, devices: dict[str, Device]) -> None:
    match change.what:
        case str(name):
            await kernel.link("set", index=devices[name].index, state="up")
        case Address(device, interface):
            index = devices[device].index if device in devices else (await kernel.link_lookup(ifname=device) or [0])[0]
            await kernel.addr(
                "add" if change.made else "del", index=index, address=str(interface.ip), family=FAMILIES[interface.version],
                prefixlen=interface.network.prefixlen, **({"proto": PROTOCOL} if change.made else {}),
            )  # fmt: skip
        case Route() as route:
            await kernel.route("replace" if change.made else "del", **_said_of_route(route, devices))
        case Rule() as rule:
            await kernel.rule("add" if change.made else "del", **_said_of_rule(rule))


def _said_of_route(route: Route, devices: dict[str, Device]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "dst": str(route.to), "family": FAMILIES[route.to.version], "table": route.table, "priority": route.metric, "proto": PROTOCOL,
    }  # fmt: skip
    if route.device is None:
        return {**said, "type": "unreachable"}
    if route.device in devices:
        said["oif"] = devices[route.device].index
    if route.gateway is not None:
        said["gateway"] = str(route.gateway)
    return said


def _said_of_rule(rule: Rule) -> dict[str, Any]:
    said: dict[str, Any] = {
        "family": FAMILIES[rule.version], "priority": rule.priority, "table": rule.table, "protocol": PROTOCOL,
    }  # fmt: skip
    if rule.mark is not None:
        said |= {"fwmark": rule.mark, "fwmask": MASK}
    if rule.device is not None:
        said["oifname"] = rule.device
    if rule.source is not None:
        said |= {"src": str(rule.source), "src_len": rule.source.max_prefixlen}
    if rule.closer:
        said["FRA_SUPPRESS_PREFIXLEN"] = 0
    return said


if __name__ == "__main__":
    main()
