"""Tells a fault at the branch from one that is farther away: the cable, the address, the line's router, and what lies beyond.

What happens when…

* the gateway answers no ping: it is there all the same when it says that a packet's hop limit is over, or when it answers the kernel's own question for its
  hardware address (ARP, neighbour discovery) while we ask;
* it was there until just now: what the kernel remembers of it isn't taken for an answer;
* the target answers: the line is well, whatever the gateway keeps to itself;
* the line has no gateway because it needs none (a modem): it goes on without.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Final

from appliance.core.errors import UnavailableError
from appliance.edge.reach import netlink
from appliance.edge.reach.ping import Pinged, ping, summed
from appliance.edge.reach.trace import trace
from appliance.edge.reach.verdicts import Link, Verdict, Where
from appliance.edge.reach.way import Address, Way, checked_device, look_up
from appliance.i18n import later

SYSTEM: Final = Path("/sys/class/net")
ECHOES: Final = 3
SETTLES_S: Final = 9.0
"""The kernel asks a neighbour again that it knew five seconds after something was sent, three times a second apart."""
LOOK_S: Final = 0.25
_UP: Final = 1
"""``IFF_UP``."""

Say = Callable[[str], None]
Own = IPv4Interface | IPv6Interface


def link_of(device: str, place: Path = SYSTEM) -> Link:
    """How a device stands. :raises UnavailableError: the kernel doesn't tell its addresses."""
    directory = place / checked_device(device)
    if not directory.is_dir():
        return Link(device)
    speed, carrier, flags = (_read(directory / name) for name in ("speed", "carrier", "flags"))
    return Link(
        device, there=True, on=bool(int(flags or "0", 16) & _UP), carrier=carrier == "1" if carrier else None,
        speed=int(speed) if speed.isdigit() and int(speed) > 0 else None, state=_read(directory / "operstate"),
        addresses=tuple(str(each) for each in _own(device)),
    )  # fmt: skip


def judged(device: str, target: str = "", say: Say = lambda _text: None) -> Verdict:
    """Where the fault is.

    :param target: a host beyond the line, the centre for one; empty: only as far as the gateway. :param say: is told what is tried now.
    :raises UnavailableError: ``ping_not_permitted``, or the kernel doesn't tell. :raises InvalidError: ``bad_device``, ``bad_host``.
    """
    say(later("The interface and its cable …"))
    link = link_of(device)
    if not link.there or not link.on or link.carrier is False:
        where = Where.NO_DEVICE if not link.there else Where.NO_CABLE if link.on else Where.OFF
        return Verdict(where, link, target)
    address, known = None, True
    if target:
        try:
            address = look_up(target, device).address
        except UnavailableError:
            known = False
    return _beyond(device, link, target, address, known, say)


def _beyond(device: str, link: Link, target: str, address: Address | None, known: bool, say: Say) -> Verdict:
    own = [each for each in _own(device) if _is_usable(each) or (address is not None and address.is_link_local)]
    versions = {each.version for each in own}
    if not versions or (address is not None and address.version not in versions):
        return Verdict(Where.NO_ADDRESS, link, target)
    number, routes = socket.if_nametoindex(device), netlink.routes()
    wanted = [address.version] if address is not None else sorted(versions)
    found = [netlink.best(routes, number, address, version) for version in wanted]
    route = next((each for each in found if each is not None), None)
    if route is None:
        return Verdict(Where.NO_GATEWAY, link, target)
    gateway = None if route.gateway is None else Way(route.gateway, device)
    answers = None
    if gateway is not None:
        say(later("The gateway …"))
        answers = _is_there(gateway, number, None if address is None else Way(address, device))
    shown = "" if gateway is None else str(gateway.address)
    pinged = None
    if address is not None:
        say(later("Beyond it …"))
        pinged = _pinged(Way(address, device))
    where = _where(answers, known, pinged, any(address in each.network for each in own if address is not None))
    return Verdict(where, link, target, shown, answers, pinged)


def _where(answers: bool | None, known: bool, pinged: Pinged | None, near: bool) -> Where:
    if pinged is not None and pinged.received:
        return Where.WELL
    if answers is False:
        return Where.GATEWAY_SILENT
    if not known:
        return Where.NO_NAME
    if pinged is None:
        return Where.WELL
    return Where.NEIGHBOUR_SILENT if near and answers is None else Where.DISTANT


def _is_there(gateway: Way, number: int, beyond: Way | None) -> bool:
    """Whether a gateway gives any sign of itself."""
    began = time.monotonic()
    if _pinged(gateway).received:
        return True
    if beyond is not None and any(hop.addresses and not hop.said for hop in trace(beyond, hops=1)):
        return True
    while True:
        now = netlink.neighbour_of(number, gateway.address)
        if was_heard(now, time.monotonic() - began):
            return True
        settling = now is not None and now.state & netlink.SETTLING
        if not settling or time.monotonic() - began > SETTLES_S:
            return False
        time.sleep(LOOK_S)


def was_heard(known: netlink.Neighbour | None, within_s: float) -> bool:
    """Whether a neighbour has answered the kernel within the last seconds (pure)."""
    if known is None or known.heard_s is None or known.state & (netlink.INCOMPLETE | netlink.FAILED):
        return False
    return known.heard_s < within_s


def _pinged(way: Way) -> Pinged:
    return summed(ping(way, ECHOES))


def _own(device: str) -> tuple[Own, ...]:
    try:
        number = socket.if_nametoindex(device)
    except OSError:
        return ()  # it has gone
    return netlink.addresses_of(number)


def _is_usable(address: Own) -> bool:
    """Not one that the machine gave itself because nobody gave it another (RFC 3927, RFC 4862)."""
    return not ipaddress.ip_address(address.ip).is_link_local


def _read(file: Path) -> str:
    """Empty: the driver doesn't tell (EINVAL)."""
    try:
        return file.read_text().strip()
    except OSError:
        return ""
