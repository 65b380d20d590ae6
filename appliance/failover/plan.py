"""Document → which branches are protected, by which paths, and what the centre's relays go by but for keys (pure).

A branch of our own with lines of its own is *protected*: its tunnel goes through a relay at each end. A *path* is one line to one of the centre's addresses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.document import Document
from appliance.failover.model import LINES, LineRole, WanLine
from appliance.vpn.addresses import concentrator, daemons_for, home, ours, third_party, tunnel_ports
from appliance.vpn.model import THIRD, Branch, Concentrator

ADDRESSES: Final = 4
"""Of the centre's addresses, as many are used by lines: with :data:`~.model.LINES` lines a session has sixteen paths at most (:mod:`.relay.wire`)."""
FILE: Final = "host/vpn/relays.json"
"""Within a generation."""


@dataclass(frozen=True, slots=True)
class PathPlan:
    """One way from a branch to the centre.

    :param number: what both ends call it, below 16; tells the line too (:func:`line_of`).
    :param device: of the edge. :param host: of the centre, an address or a name. :param monthly_gb: what the *line* may carry.
    """

    number: int
    role: LineRole
    device: str
    host: str
    port: int
    monthly_gb: int | None


def lines(document: Document) -> Mapping[str, tuple[WanLine, ...]]:
    """Lines in use by site, by number; two with one number count once (verify refuses that)."""
    found: dict[str, dict[int, WanLine]] = {}
    for line in sorted(document.all(WanLine).values(), key=lambda item: item.id):
        if line.enabled:
            found.setdefault(line.site, {}).setdefault(line.number, line)
    return {site: tuple(each for _number, each in sorted(mine.items())) for site, mine in found.items()}


def protected(document: Document) -> Mapping[str, Branch]:
    """Branches in use with an edge of ours and lines, by site, in the order of their numbers."""
    there = lines(document)
    return {site: branch for site, branch in ours(document).items() if site in there}


def relay_ports(document: Document, cores: int) -> tuple[int, ...]:
    """UDP ports of the centre's relays, one beside each daemon, whether anybody has lines or not: a branch whose first or last line is committed
    hears of it by the tunnel that it has, and goes on by that until it does."""
    one = concentrator(document)
    if one is None or not ours(document):
        return ()
    return tuple(range(one.relay_port, one.relay_port + daemons_for(len(ours(document)), cores)))


def outer_ports(document: Document, cores: int) -> tuple[int, ...]:
    """UDP ports that anybody may send to: of the daemons, unless branches come in by relays only, and of the relays."""
    one = concentrator(document)
    if one is None:
        return ()
    tunnels = tunnel_ports(document, cores)
    if not one.direct:
        tunnels = tuple(port for port in tunnels if port == one.port + THIRD and third_party(document))
    return (*tunnels, *relay_ports(document, cores))


def paths(one: Concentrator, branch: Branch, own: tuple[WanLine, ...], daemons: int) -> tuple[PathPlan, ...]:
    """All paths of a branch, of so many daemons; each line tries the centre's addresses in their order."""
    index = home(branch, daemons)
    return tuple(
        PathPlan(
            number_of(line.number, at),
            line.role,
            line.device,
            address.host,
            address.relay_port + index,
            line.monthly_gb,
        )
        for line in own
        for at, address in enumerate(one.addresses[:ADDRESSES])
    )


def number_of(line: int, address: int) -> int:
    """What a path is called. :param line: 1 to :data:`~.model.LINES`; :param address: index of the centre's."""
    if not (1 <= line <= LINES and 0 <= address < ADDRESSES):
        msg = f"no path of line {line} to address {address}"
        raise ValueError(msg)
    return (line - 1) * ADDRESSES + address


def line_of(path: int) -> int:
    """The line's number of a path."""
    return path // ADDRESSES + 1


def files(document: Document, cores: int) -> dict[str, str]:
    """What a generation says of the relays; nothing without an edge of ours."""
    one, found, own = concentrator(document), ours(document), lines(document)
    if one is None or not found:
        return {}
    number = daemons_for(len(found), cores)
    plain = {
        "relays": {str(index): one.relay_port + index for index in range(number)},
        "servers": {str(index): one.port + index for index in range(number)},
        "sites": {site: {"number": each.number, "server": str(home(each, number))} for site, each in found.items()},
        "lines": {site: dict(_told(own[site])) for site in found if site in own},
    }
    return {FILE: json.dumps(plain, indent=1) + "\n"}


def _told(own: tuple[WanLine, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in own:
        yield str(line.number), {"id": line.id, "name": line.name, "role": line.role.value}
