"""What must hold between the objects of this feature and others, beyond what each model checks of itself."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.pbx.media.model import Listener, Transport

_CLEAR = frozenset({Transport.UDP, Transport.TCP})
_SECURED = frozenset({Transport.TLS, Transport.WSS})


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    found = sorted(document.all(Listener).values(), key=lambda item: item.id)
    for listener in found:
        if listener.transport in _SECURED and listener.certificate is None:
            yield Fault(
                listener.path("certificate"),
                f"is needed for {listener.transport}",
                "name an issued certificate; `appliance` is the one made at installation",
                "certificate_missing",
            )
    yield from _ports(found)
    yield from _web(found)


def _ports(found: list[Listener]) -> Iterator[Fault]:
    taken: dict[tuple[str, int], list[Listener]] = {}
    for listener in found:
        for other in taken.setdefault((listener.address, listener.port), []):
            pair = {listener.transport, other.transport}
            # The engine can't tell transports on one port apart when it checks what a device may use.
            if len(pair) == 1 or not pair <= _CLEAR or listener.zone is not other.zone:
                yield Fault(
                    listener.path("port"),
                    f"{listener.address} port {listener.port} is listener {other.id!r}'s already",
                    "choose another port: only udp and tcp of one zone may share one",
                    "port_taken",
                )
        taken[(listener.address, listener.port)].append(listener)


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
