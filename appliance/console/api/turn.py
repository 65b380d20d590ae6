"""Credentials for the TURN server, as a browser's ``RTCPeerConnection`` wants them."""

from __future__ import annotations

import time
from typing import Any, Final

from flask import Blueprint, Response, jsonify

from appliance.access.relays import require
from appliance.console.api.openapi_parts import operation
from appliance.console.api.requests import services, subject
from appliance.core.errors import RefusedError
from appliance.turn.addresses import ice_servers, turn_server
from appliance.turn.service import ask_credentials


def add_to(blueprint: Blueprint) -> None:
    """Add this resource."""
    blueprint.get("/turn")(turn)


def turn() -> Response:
    """Where the TURN server is, and credentials of one's own that are good for some hours. Without one in use: none."""
    who = subject()
    require(who)
    verdict = services().turn_limits.take(who.id, time.monotonic())
    if verdict.wait_s:
        raise RefusedError("too many requests", f"wait {verdict.wait_s} s", error_id="too_many_requests")
    server = turn_server(services().store.document())
    if server is None:
        return jsonify({"iceServers": [], "expires": None})
    made = ask_credentials(services().paths, who.person)
    return jsonify({"iceServers": ice_servers(server, made), "expires": 1000 * made.expires})


SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "Turn": {
        "type": "object",
        "required": ["iceServers", "expires"],
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
            "expires": {"type": ["integer", "null"], "description": "Until then they open relays, ms since 1970"},
        },
    },
}


def paths() -> dict[str, Any]:
    """Their part of the API's description."""
    return {"/turn": {"get": operation("turn", "The TURN server, with credentials of your own", "Turn")}}
