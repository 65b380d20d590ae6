"""What must hold between the objects of this feature and others, beyond what each model checks of itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.engine.stand_ins import HOST, PORT
from appliance.pbx.media.doors import by_the_gate, is_any, media_address
from appliance.pbx.media.model import Listener, Transport, Zone

_CLEAR = frozenset({Transport.UDP, Transport.TCP})
_SECURED = frozenset({Transport.TLS, Transport.WSS})


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    found = sorted(document.all(Listener).values(), key=lambda item: item.id)
    for listener in found:
        if listener.zone is Zone.GATE:
            if listener.transport is not Transport.WSS:
                yield Fault(
                    listener.path("zone"),
                    f"is for WSS: by the portal's port comes no {listener.transport}",
                    "choose who may reach the listener: phones, trunks or web",
                    "gate_without_wss",
                )
        elif listener.transport in _SECURED and listener.certificate is None:
            yield Fault(
                listener.path("certificate"),
                f"is needed for {listener.transport}",
                "name an issued certificate; `appliance` is the one made at installation",
                "certificate_missing",
            )
        if media_address(listener) is None:
            yield Fault(
                listener.path("media_address"),
                f"is needed: the listener is bound to {listener.address}, and voice must leave from one address",
                "enter the address of this machine that phones and providers reach",
                "media_address_missing",
            )
    yield from _ports(found)
    yield from _web(found)
    yield from _the_gates(found)


def _the_gates(found: list[Listener]) -> Iterator[Fault]:
    """The port where the engine takes browsers from the gate, on the loopback, is no other listener's."""
    if not any(map(by_the_gate, found)):
        return
    for listener in found:
        taken = listener.port == PORT and listener.transport is not Transport.UDP and listener.zone is not Zone.GATE
        if taken and listener.address in (HOST, "::"):
            yield Fault(
                listener.path("port"),
                f"{listener.address} port {PORT} is where browsers come in from the portal's port",
                "choose another port",
                "port_taken",
            )


def _ports(found: list[Listener]) -> Iterator[Fault]:
    taken: dict[int, list[Listener]] = {}
    for listener in found:
        if listener.zone is Zone.GATE:
            continue  # its own port isn't opened
        for other in taken.setdefault(listener.port, []):
            pair = {listener.transport, other.transport}
            # The engine can't tell transports on one port apart when it checks what a device may use.
            shareable = len(pair) == 2 and pair <= _CLEAR and listener.zone is other.zone
            if _covers(listener, other) and not (shareable and listener.address == other.address):
                yield Fault(
                    listener.path("port"),
                    f"{listener.address} port {listener.port} is listener {other.id!r}'s already",
                    "choose another port: only udp and tcp of one zone and address may share one",
                    "port_taken",
                )
        taken[listener.port].append(listener)


def _covers(one: Listener, other: Listener) -> bool:
    """Whether both answer at one address: the same, or one of them at all addresses of its family."""
    if one.address == other.address:
        return True
    same_family = ipaddress.ip_address(one.address).version == ipaddress.ip_address(other.address).version
    return same_family and (is_any(one.address) or is_any(other.address))


def _web(found: list[Listener]) -> Iterator[Fault]:
    first: Listener | None = None
    for listener in found:
        if listener.transport is not Transport.WSS:
            continue
        if first is not None:
            yield Fault(
                listener.path("transport"),
                f"there is a wss listener already, {first.id!r}",
                "the engine has one web server: keep one wss listener",
                "second_web_listener",
            )
        first = first or listener
