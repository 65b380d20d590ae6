"""What the kernel has, and what it should have → what is to be done, in which order (pure).

First what is new is made, then what isn't wanted is removed: a packet always finds a way. A route replaces the one in its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from appliance.edge.links.things import Change, Found, Wanted

T = TypeVar("T")


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
