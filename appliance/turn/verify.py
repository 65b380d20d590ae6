"""What must hold between the TURN server and everything else that has ports (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.engine.plan import RTP_FIRST, RTP_LAST, UDPTL_FIRST, UDPTL_LAST
from appliance.firewall.model import Network, NetworkZone
from appliance.pbx.media.doors import is_any
from appliance.pbx.media.model import Listener, Transport
from appliance.turn.addresses import GATE_PORT, browsers, listen_addresses, peers
from appliance.turn.model import OpenTo, TurnServer
from appliance.vpn.addresses import concentrator
from appliance.vpn.model import DAEMONS


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    found = sorted(document.all(TurnServer).values(), key=lambda item: item.id)
    for server in found:
        yield from _listening(document, server)
        yield from _relays(document, server)
        if server.enabled:
            yield from _of_use(document, server)
    for server in found[1:]:
        yield Fault(server.path(), f"there is a TURN server already, {found[0].id!r}", "keep one", "second_turn_server")


def _listening(document: Document, server: TurnServer) -> Iterator[Fault]:
    for index, address in enumerate(server.listen):
        if is_any(address):
            yield Fault(
                server.path(f"listen[{index}]"),
                f"{address} stands for all addresses: answers could leave by another one",
                "enter the addresses of this machine that browsers reach",
                "turn_any_address",
            )
    taken = next((whose for ports, whose in _others(document) if server.port in ports), None)
    if server.port == GATE_PORT:
        taken = "TURN/TLS"
    if taken is not None:
        yield Fault(
            server.path("port"),
            f"UDP port {server.port} belongs to {taken} already",
            "choose another one",
            "port_taken",
        )
    here = set(listen_addresses(document, server))
    for listener in sorted(document.all(Listener).values(), key=lambda item: item.id):
        same = listener.transport is Transport.UDP and listener.port == server.port
        if same and (listener.address in here or is_any(listener.address)):
            yield Fault(
                server.path("port"),
                f"UDP port {server.port} is listener {listener.id!r}'s already",
                "choose another one",
                "port_taken",
            )


def _relays(document: Document, server: TurnServer) -> Iterator[Fault]:
    if server.relay_first > server.relay_last:
        yield Fault(
            server.path("relay_last"),
            f"is below the first port, {server.relay_first}",
            "enter the first and the last port of the range",
            "relay_range",
        )
        return
    ports = range(server.relay_first, server.relay_last + 1)
    if len(ports) < server.relays:
        yield Fault(
            server.path("relays"),
            f"{server.relays} relays need as many ports, and there are {len(ports)}",
            f"enter {len(ports)} at most, or widen the range of ports",
            "relay_ports",
        )
    own = [(range(server.port, server.port + 1), "TURN/UDP")]
    own.append((range(GATE_PORT, GATE_PORT + 1), "TURN/TLS"))
    for other, whose in (*own, *_others(document)):
        if ports[0] <= other[-1] and other[0] <= ports[-1]:
            yield Fault(
                server.path("relay_first"),
                f"the range overlaps {_text(other)}, which {whose} has",
                "choose a range that nothing else has, such as 30000 to 31999",
                "relay_range_taken",
            )


def _others(document: Document) -> Iterator[tuple[range, str]]:
    """UDP ports that belong to something else on this machine, whatever the address; and whose they are, in any language."""
    yield range(RTP_FIRST, RTP_LAST + 1), "RTP"
    yield range(UDPTL_FIRST, UDPTL_LAST + 1), "T.38"
    one = concentrator(document)
    if one is not None:
        yield range(one.port, one.port + DAEMONS), one.path()


def _of_use(document: Document, server: TurnServer) -> Iterator[Fault]:
    """What would leave it without use: each is shown, none holds a commit up."""
    if not browsers(document):
        yield Fault(
            server.path("enabled"),
            "no listener is for browsers: nobody has voice to relay",
            "add a listener with transport wss",
            "turn_without_browsers",
            "warning",
        )
    elif not peers(document):
        where = browsers(document)[0]
        yield Fault(
            where.path("media_address"),
            "voice of browsers has no address that relays may reach: it takes an IPv4 address that isn't loopback",
            "enter an IPv4 address of this machine as the listener's media address",
            "turn_without_peers",
            "warning",
        )
    clients = [each for each in document.all(Network).values() if each.zone is NetworkZone.CLIENTS]
    if server.open_to is OpenTo.CLIENTS and document.all(Network) and not clients:
        yield Fault(
            server.path("open_to"),
            "is for networks of browsers and mobiles, and there is none: where the firewall is in force, nobody reaches it",
            "add a network with zone clients, or open it to anybody",
            "turn_closed",
            "warning",
        )


def _text(ports: range) -> str:
    return str(ports[0]) if len(ports) == 1 else f"{ports[0]}-{ports[-1]}"
