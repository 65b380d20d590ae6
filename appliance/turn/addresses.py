"""What follows from the document about the TURN server, for plan, firewall, API and doctor (pure)."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from appliance.core.document import Document
from appliance.pbx.media.doors import is_any, media_address
from appliance.pbx.media.model import Listener, Transport
from appliance.turn.credentials import Credentials
from appliance.turn.model import TurnServer

GATE_PORT: Final = 3479
"""TCP on 127.0.0.1: where the gate hands over what came by TLS, with the client's address (PROXY protocol, version 2)."""
RELAY_ADDRESS: Final = "127.0.0.1"
"""Relays are on the loopback: nothing from outside reaches one, and the kernel lets none of them send to another machine."""
TURN_UID: Final = 45062
"""User and group that the TURN server runs as; the firewall knows its packets by it."""


def turn_server(document: Document) -> TurnServer | None:
    """The one that is in use; the first by id, should there be several (verify refuses that)."""
    found = sorted(document.all(TurnServer).values(), key=lambda item: item.id)
    return next((each for each in found if each.enabled), None)


def browsers(document: Document) -> tuple[Listener, ...]:
    """Listeners that browsers register at."""
    found = sorted(document.all(Listener).values(), key=lambda item: item.id)
    return tuple(each for each in found if each.transport is Transport.WSS)


def peers(document: Document) -> tuple[str, ...]:
    """Addresses at which the engine has the voice of browsers (IPv4, the family of relays): all that a relay may send to.

    Never the loopback: whatever listens there trusts this machine.
    """
    found = dict.fromkeys(media_address(each) for each in browsers(document))
    return tuple(each for each in found if each is not None and ":" not in each and not _is_loopback(each))


def listen_addresses(document: Document, server: TurnServer) -> tuple[str, ...]:
    """Where UDP comes in. None: nothing says so, and only TLS does."""
    if server.listen:
        return tuple(each for each in server.listen if not is_any(each))
    found = (media_address(each) if is_any(each.address) else each.address for each in browsers(document))
    return tuple(dict.fromkeys(each for each in found if each is not None))


def ice_servers(server: TurnServer, credentials: Credentials) -> list[dict[str, Any]]:
    """``iceServers`` of a browser's ``RTCPeerConnection`` (W3C WebRTC section 4.2.3; URLs: RFC 7065), best first."""
    urls = []
    for address in server.addresses:
        host = f"[{address.host}]" if ":" in address.host else address.host
        urls.append(f"turn:{host}:{address.port}?transport=udp")
        urls.append(f"turns:{host}:{address.tls_port}?transport=tcp")
    return [{"urls": urls, "username": credentials.username, "credential": credentials.password}]


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
