"""What must hold between routes and numbers: a route that no call ever takes was meant otherwise.

A route that applies to exactly what an earlier one takes is a fault; one whose calls earlier routes take because they
apply to more is a warning.
"""

from __future__ import annotations

from collections.abc import Iterator

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.organisation.model import Company, Site
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.routing.model import Did, InboundRoute, OutboundRoute

Numbered = Company | Site | Extension | Device


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    yield from _outbound(document)
    yield from _inbound(document)
    yield from _caller_numbers(document)


def _outbound(document: Document) -> Iterator[Fault]:
    earlier: dict[str, list[tuple[frozenset[str], OutboundRoute]]] = {}
    for route in sorted(document.all(OutboundRoute).values(), key=lambda item: (item.order, item.id)):
        sites = frozenset(route.sites)
        for index, prefix in enumerate(route.prefixes):
            path = route.path(f"prefixes[{index}]")
            if prefix in route.prefixes[:index]:
                yield Fault(path, f"{prefix} stands there already", "remove one of the two", "prefix_twice")
                continue
            for begin in _beginnings(prefix):
                found = next((item for item in earlier.get(begin, ()) if _takes_all(item[0], sites)), None)
                if found is not None:
                    same = begin == prefix and found[0] == sites
                    first = found[1]
                    yield _never(
                        path,
                        f"calls to {prefix}… are taken by {first.path()}, which comes first: it is never used for them",
                        first,
                        same=same,
                    )
                    break
        for prefix in dict.fromkeys(route.prefixes):
            earlier.setdefault(prefix, []).append((sites, route))


def _inbound(document: Document) -> Iterator[Fault]:
    earlier: dict[tuple[str, str | None], list[tuple[frozenset[str], InboundRoute]]] = {}
    for route in sorted(document.all(InboundRoute).values(), key=lambda item: (item.order, item.id)):
        trunks = frozenset(route.trunks)
        callers = [None] if route.caller is None else [None, *_beginnings(route.caller)]
        wider = ((called, caller) for called in _beginnings(route.called) for caller in callers)
        for key in wider:
            found = next((item for item in earlier.get(key, ()) if _takes_all(item[0], trunks)), None)
            if found is not None:
                same = key == (route.called, route.caller) and found[0] == trunks
                first = found[1]
                yield _never(
                    route.path("order"),
                    f"its calls are taken by {first.path()}, which comes first: it is never used",
                    first,
                    same=same,
                )
                break
        earlier.setdefault((route.called, route.caller), []).append((trunks, route))


def _beginnings(prefix: str) -> Iterator[str]:
    """``+3902`` itself, then ``+390``, ``+39``, ``+3``, ``+``: what applies to all that it applies to."""
    for length in range(len(prefix), 0, -1):
        yield prefix[:length]


def _takes_all(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether a condition (none: any) holds wherever another does."""
    return not one or bool(other and other <= one)


def _never(path: str, message: str, earlier: OutboundRoute | InboundRoute, *, same: bool) -> Fault:
    return Fault(
        path,
        message,
        f"give this route a lower order than {earlier.path('order')}, or change what either applies to",
        "route_twice" if same else "route_never_used",
        "error" if same else "warning",
    )


def _caller_numbers(document: Document) -> Iterator[Fault]:
    """Providers refuse or replace calling numbers that aren't ours, and nobody could call back."""
    ours = {did.number for did in document.all(Did).values()}
    kinds: tuple[type[Numbered], ...] = (Company, Site, Extension, Device)
    for kind in kinds:
        for item in document.all(kind).values():
            if item.caller_number is not None and item.caller_number not in ours:
                yield Fault(
                    item.path("caller_number"),
                    f"{item.caller_number} is not a number of this appliance: the trunk's own is sent in its place,"
                    " unless its provider doesn't screen",
                    "use the number of a did, or add one with this number",
                    "caller_number_not_ours",
                    "warning",
                )
