"""The firewall's promise as people read it: groups of sources with what each reaches, and a picture of them (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from appliance.core.document import Document
from appliance.firewall.model import Network
from appliance.firewall.promise import Opening, Promise, Sources
from appliance.firewall.words import SERVICES
from appliance.i18n import _, later
from appliance.pbx.trunks.model import Trunk

ZONES: Final[dict[str, str]] = {
    "anybody": later("Anybody"),
    "vpn": later("Branches"),
    "voice": later("Voice networks"),
    "clients": later("Browsers and mobiles"),
    "management": later("Administrators"),
    "trunks": later("Providers"),
    "other": later("Others"),
}
"""Boxes of the picture, from outside inwards."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of sources. ``kind`` and ``id``: the object of the document that it is from, or empty."""

    name: str
    zone: str
    sources: Sources
    openings: tuple[Opening, ...]
    kind: str = ""
    id: str = ""

    @property
    def reached(self) -> list[tuple[str, str, bool, list[str]]]:
        """Service, address of ours (empty: all), whether only at times, and ports with their protocol."""
        found: dict[tuple[str, str, bool], list[str]] = {}
        for each in self.openings:
            first, last = each.ports
            ports = f"{each.protocol.upper()} {first}" + (f"–{last}" if last != first else "")
            found.setdefault((each.service.value, each.address or "", each.at_times), []).append(ports)
        return [(*what, ports) for what, ports in found.items()]


def groups_of(promise: Promise, document: Document) -> list[Group]:
    """All groups, from outside inwards. A trunk's signalling and its voice are two, for they come from several addresses."""
    found = [
        _group(sources, tuple(each for each in promise.openings if each.sources == sources), document)
        for sources in promise.groups
    ]
    order = list(ZONES)
    return sorted(found, key=lambda each: (order.index(each.zone), each.name.casefold(), each.sources.name))


def _group(sources: Sources, openings: tuple[Opening, ...], document: Document) -> Group:
    kind, _dash, id = sources.name.partition("-")
    if kind == "network" and (network := document.find(Network, id)) is not None:
        return Group(network.name, network.zone.value, sources, openings, Network.kind, id)
    if kind in ("trunk", "media") and (trunk := document.find(Trunk, id)) is not None:
        name = trunk.name if kind == "trunk" else _("{name}, its voice").format(name=trunk.name)
        return Group(name, "trunks", sources, openings, Trunk.kind, id)
    if kind == "anybody":
        return Group(_("Anybody"), "anybody", sources, openings)
    if kind == "vpn":
        return Group(_("Branches, by the voice VPN"), "vpn", sources, openings)
    if kind == "edges":
        return Group(_("Edges of branches, within the voice VPN"), "vpn", sources, openings)
    name = _("Private networks, until you name your own") if sources.name == "new-machine" else sources.name
    return Group(name, "other", sources, openings)


# The picture: zones at the left, services at the right, a line for each opening

WIDTH: Final = 540
BOX: Final = (200, 34)
GAP: Final = 14
TOP: Final = 34


@dataclass(frozen=True, slots=True)
class Box:
    """``text``: an English message id."""

    text: str
    x: int
    y: int
    outside: bool = False

    @property
    def width(self) -> int:
        return BOX[0]

    @property
    def height(self) -> int:
        return BOX[1]


@dataclass(frozen=True, slots=True)
class Line:
    """From a zone's right edge to a service's left."""

    path: str
    service: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes and lines between them."""

    zones: tuple[Box, ...]
    services: tuple[Box, ...]
    lines: tuple[Line, ...]
    width: int
    height: int


def picture_of(groups: Sequence[Group]) -> Picture:
    """Who reaches what, without ports and addresses: those stand in the table."""
    zones = _placed([zone for zone in ZONES if any(each.zone == zone for each in groups)])
    offered = {opening.service.value for each in groups for opening in each.openings}
    known = [service for service in SERVICES if service in offered]
    services = _placed([*known, *sorted(offered - set(known))])
    pairs = dict.fromkeys((each.zone, opening.service.value) for each in groups for opening in each.openings)
    right = WIDTH - BOX[0]
    lines = tuple(Line(_curve(zones[zone], services[service], right), service) for zone, service in pairs)
    height = TOP + max(len(zones), len(services), 1) * (BOX[1] + GAP)
    return Picture(
        tuple(Box(ZONES[zone], 0, y, outside=zone == "anybody") for zone, y in zones.items()),
        tuple(Box(SERVICES.get(service, service), right, y) for service, y in services.items()),
        lines, WIDTH, height,
    )  # fmt: skip


def _placed(names: Iterable[str]) -> dict[str, int]:
    return {name: TOP + place * (BOX[1] + GAP) for place, name in enumerate(names)}


def _curve(top: int, other: int, right: int) -> str:
    begins, ends, middle = top + BOX[1] // 2, other + BOX[1] // 2, (BOX[0] + right) // 2
    return f"M{BOX[0]} {begins}C{middle} {begins} {middle} {ends} {right - 6} {ends}"
