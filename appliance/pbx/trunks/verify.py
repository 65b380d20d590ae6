"""What must hold between trunks and the rest."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.pbx.media.model import Listener
from appliance.pbx.trunks.endpoint import by_address, is_address
from appliance.pbx.trunks.model import Provider, Trunk
from appliance.pbx.trunks.plan import listener_for

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    listeners = document.all(Listener).values()
    own = {(ipaddress.ip_address(item.address), item.port): item for item in listeners}
    for trunk in document.all(Trunk).values():
        provider = document.get(Provider, trunk.provider)
        if is_address(trunk.host):
            listener = own.get((ipaddress.ip_address(trunk.host), trunk.port))
            if listener is not None:
                yield Fault(
                    trunk.path("host"),
                    f"is this appliance itself: {listener.path()} answers at that address and port",
                    "enter the provider's address",
                    "trunk_dials_itself",
                )
        if listeners and listener_for(document, trunk, provider) is None:
            yield Fault(
                trunk.path("host"),
                f"no listener can reach it: there is none for {provider.transport} of its address family",
                f"add a listener with transport {provider.transport}, or change {provider.path('transport')}",
                "no_listener",
            )
        if by_address(trunk) and not trunk.accept_from and not is_address(trunk.host):
            yield Fault(
                trunk.path("accept_from"),
                "a trunk without registration that is called by name needs the addresses its calls come from",
                "ask the provider for them: host names aren't looked up, so that the PBX starts without DNS",
                "accept_from_missing",
            )
    yield from _ambiguous(document)


def _ambiguous(document: Document) -> Iterator[Fault]:
    """Trunks without registration whose calls can't be told apart, because they come from the same place."""
    exact: dict[object, Trunk] = {}
    networks: list[tuple[Network, Trunk]] = []
    for trunk in document.all(Trunk).values():
        if not by_address(trunk):
            continue
        if not trunk.accept_from and is_address(trunk.host):
            other = exact.setdefault((ipaddress.ip_address(trunk.host), trunk.port), trunk)
            if other is not trunk:
                yield _same_place(trunk, "host", other)
        networks += [(ipaddress.ip_network(text), trunk) for text in trunk.accept_from]
    # Networks nest or are disjoint: sorted, each must only be compared with those that are still open.
    networks.sort(key=lambda item: (item[0].version, int(item[0].network_address), item[0].prefixlen))
    around: list[tuple[Network, Trunk]] = []
    for network, trunk in networks:
        while around and not _within(network, around[-1][0]):
            around.pop()
        if around and around[-1][1] is not trunk:
            yield _same_place(trunk, "accept_from", around[-1][1])
        around.append((network, trunk))


def _within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.network_address in outer and inner.broadcast_address in outer


def _same_place(trunk: Trunk, field: str, other: Trunk) -> Fault:
    return Fault(
        trunk.path(field),
        f"its calls couldn't be told from those of {other.path()}, which come from the same addresses",
        "make them one trunk, or give each the addresses of its own",
        "same_source",
    )
