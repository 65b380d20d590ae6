"""What a browser's telephone needs: where it signs in, and credentials for the TURN server as ``RTCPeerConnection`` wants them."""

from __future__ import annotations

import time
from typing import Any, Final

from flask import Blueprint, Response, jsonify, request

from appliance.access.relays import require
from appliance.console.api.openapi_parts import operation
from appliance.console.api.requests import services, subject
from appliance.core.errors import RefusedError
from appliance.pbx.media.doors import SIGNALLING, by_the_gate
from appliance.turn.addresses import browsers, ice_servers, turn_server
from appliance.turn.service import ask_credentials


def add_to(blueprint: Blueprint) -> None:
    """Add this resource."""
    blueprint.get("/turn")(turn)


def turn() -> Response:
    """Where SIP is spoken by WebSocket, where the TURN server is, and credentials of one's own for it that are good for some hours.

    Without a TURN server in use there are none; without a listener for browsers there is no address for SIP.
    """
    who = subject()
    require(who)
    verdict = services().turn_limits.take(who.id, time.monotonic())
    if verdict.wait_s:
        raise RefusedError("too many requests", f"wait {verdict.wait_s} s", error_id="too_many_requests")
    document = services().store.document()
    server = turn_server(document)
    # By the name that this request came to: who can ask here gets in there, it is the same port.
    sip = f"wss://{request.host}{SIGNALLING}" if any(map(by_the_gate, browsers(document))) else None
    if server is None:
        return jsonify({"iceServers": [], "expires": None, "sip": sip})
    made = ask_credentials(services().paths, who.person)
    return jsonify({"iceServers": ice_servers(server, made), "expires": 1000 * made.expires, "sip": sip})


SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "Turn": {
        "type": "object",
        "required": ["iceServers", "expires", "sip"],
        "properties": {
            "iceServers": {
                "type": "array",
                "description": "As RTCPeerConnection takes them; empty: no TURN server is in use",
                "items": {
                    "type": "object",
                    "required": ["urls", "username", "credential"],
                    "properties": {
                        "urls": {"type": "array", "items": {"type": "string"}},
                        "username": {"type": "string"},
                        "credential": {"type": "string"},
                    },
                },
            },
            "sip": {
                "type": ["string", "null"],
                "description": "Where browsers speak SIP over WebSocket (RFC 7118), subprotocol sip; null: no listener is for them",
            },
            "expires": {"type": ["integer", "null"], "description": "Until then they open relays, ms since 1970"},
        },
    },
}


def paths() -> dict[str, Any]:
    """Their part of the API's description."""
    return {"/turn": {"get": operation("turn", "The TURN server, with credentials of your own", "Turn")}}
