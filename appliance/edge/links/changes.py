"""What the kernel has, and what it should have → what is to be done, in which order (pure).

First what is new is made, then what isn't wanted is removed: a packet always finds a way. A route replaces the one in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import TypeVar

from appliance.edge.links.wanted import Address, Route, Rule, Wanted

T = TypeVar("T")


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


def changes(found: Found, wanted: Wanted) -> tuple[Change, ...]:
    """All that is to be done; nothing of interfaces that aren't there."""
    return tuple(_changes(found, wanted))


def _changes(found: Found, wanted: Wanted) -> Iterator[Change]:
    there = found.devices
    for device in sorted(wanted.devices):
        if device in there and not there[device].up:
            yield Change(device)
    routes = {each for each in wanted.routes if each.device is None or (each.device in there and there[each.device].up)}
    for made in (
        [each for each in _sorted(wanted.addresses - found.addresses) if each.device in there],
        _sorted(routes - found.routes),
        _sorted(wanted.rules - found.rules),
    ):
        yield from map(Change, made)
    places = {each.place for each in routes}
    for gone in (
        _sorted(found.rules - wanted.rules),
        _sorted(each for each in found.routes - wanted.routes if each.place not in places),
        _sorted(found.ours - wanted.addresses),
    ):
        yield from (Change(each, made=False) for each in gone)


def _sorted(items: Iterable[T]) -> list[T]:
    return sorted(items, key=repr)
