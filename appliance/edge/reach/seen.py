"""Who has been heard in the branch's own networks: telephones, DECT cells, gateways and whatever else, as the kernel knows them by their hardware addresses.

Nobody is asked: a telephone that is registered speaks to its router all the time. Who makes it is told by the first half of its hardware address (IEEE's registry, makers of what telephones in a
company; Snom and newer Gigaset desk phones share one), and is a hint, no proof.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from appliance.edge.reach import netlink

MAKERS: Final = {
    "000413": "Snom, Gigaset", "7c2f80": "Gigaset", "589ec6": "Gigaset", "001565": "Yealink", "805ec0": "Yealink", "805e0c": "Yealink", "249ad8": "Yealink",
    "44dbd2": "Yealink", "0c383e": "Fanvil", "000b82": "Grandstream", "c074ad": "Grandstream", "00908f": "AudioCodes", "00a0ba": "Patton",
    "0004f2": "Polycom", "64167f": "Polycom", "482567": "Polycom", "0080f0": "Panasonic", "00085d": "Mitel", "1400e9": "Mitel", "00c0f2": "Lantronix",
}  # fmt: skip
"""First three octets of a hardware address → maker."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Somebody. ``hardware``: such as ``00:04:13:2d:24:01``; ``maker``: empty: not one that we know; ``heard_s``: seconds since he was there for sure, None: not known."""

    address: str
    hardware: str
    maker: str
    heard_s: float | None


def seen(networks: Iterable[str]) -> list[Seen]:
    """All in these networks, by address. :raises UnavailableError: the kernel doesn't tell."""
    return chosen(netlink.neighbours(), networks)


def chosen(known: Iterable[netlink.Neighbour], networks: Iterable[str]) -> list[Seen]:
    """Those in these networks that have a hardware address, and haven't gone (pure)."""
    inside = [ipaddress.ip_network(each) for each in networks]
    found = [
        each for each in known
        if each.hardware and not each.state & (netlink.FAILED | netlink.INCOMPLETE) and any(each.address in network for network in inside)
    ]  # fmt: skip
    found.sort(key=lambda each: (each.address.version, each.address.packed))
    return [Seen(str(each.address), each.hardware, maker_of(each.hardware), each.heard_s) for each in found]


def maker_of(hardware: str) -> str:
    """Empty: not one that we know."""
    return MAKERS.get(hardware.replace(":", "").lower()[:6], "")
