"""Branches of the voice VPN as they stand: ``/branches``, and shutting one out."""

from __future__ import annotations

from typing import Any, Final

from flask import Blueprint, Response, jsonify, request

from appliance.console.api.openapi_parts import REF, Schema, operation
from appliance.console.api.requests import services, subject
from appliance.hub.tunnels import STATES


def add_to(blueprint: Blueprint) -> None:
    """Add these resources."""
    blueprint.get("/branches", endpoint="branches_listed")(listed)
    blueprint.post("/branches/<id>/revoke", endpoint="branches_revoke")(revoke)


def listed() -> Response:
    """How every branch stands that the asker may see."""
    return jsonify(services().calls(subject()).live("branch"))


def revoke(id: str) -> Response:
    """Shut one out."""
    return jsonify({"revoked": services().branches(subject()).revoke(id, request.remote_addr or "")})


_TEXT: Final[Schema] = {"type": "string"}
_MAYBE_TEXT: Final[Schema] = {"type": ["string", "null"]}


def _number(about: str) -> Schema:
    return {"type": ["number", "null"], "description": about}


_BRANCH: Final[dict[str, Schema]] = {
    "id": _TEXT,
    "site": _TEXT,
    "name": {**_TEXT, "description": "Of the site"},
    "state": {"enum": list(STATES), "description": "unknown: the voice VPN's process doesn't say. off: the document has it switched off"},
    "since": _number("When it connected, ms since 1970; of who isn't connected this and what follows is null or empty"),
    "address": {**_TEXT, "description": "Where it comes from"},
    "inside": {"type": "array", "items": _TEXT, "description": "Its addresses within the tunnel"},
    "received": _number("Bytes from it since then, to three digits"),
    "sent": _number("Bytes to it"),
    "received_rate": _number("bit/s over the last five seconds, to two digits"),
    "sent_rate": _number("bit/s to it"),
    "rtt_ms": _number("Median round trip through the tunnel over half a minute, ms; null: it answers no ping"),
    "rtt_last_ms": _number("The last one"),
    "loss": _number("Share of pings that weren't answered within two seconds, 0 to 1; null: it never answered one"),
    "version": {**_MAYBE_TEXT, "description": "Of its OpenVPN; null: it connected before our process began"},
    "certificate": {**_TEXT, "description": "Common name"},
    "certificate_ends": {**_MAYBE_TEXT, "format": "date-time"},
}  # fmt: skip
SCHEMAS: Final[dict[str, Schema]] = {
    "live.Branch": {
        "type": "object", "description": "A branch of the voice VPN as it stands", "required": list(_BRANCH), "properties": _BRANCH,
    },
    "live.Branches": {
        "type": "object",
        "required": ["items", "state", "reason", "since"],
        "properties": {
            "items": {"type": "array", "items": {"$ref": f"{REF}live.Branch"}},
            "state": {"enum": ["live", "stale"], "description": "Of the hub's view of the engine; branches don't depend on it"},
            "reason": _TEXT,
            "since": {"type": "integer"},
        },
    },
    "Revoked": {
        "type": "object", "required": ["revoked"],
        "properties": {"revoked": {"type": "array", "items": _TEXT, "description": "Names of the certificates"}},
    },
}  # fmt: skip


def paths() -> dict[str, Any]:
    """Their part of the API's description."""
    id = {"name": "id", "in": "path", "required": True, "schema": _TEXT, "description": "Of the branch"}
    return {
        "/branches": {"get": operation("list_branches_live", "How every branch stands now", "live.Branches")},
        "/branches/{id}/revoke": {
            "parameters": [id],
            "post": operation("revoke_branch", "Revoke all certificates of a branch: it is cut off within a second", "Revoked"),
        },
    }  # fmt: skip
