"""Branches of the voice VPN as they stand: ``/branches``, shutting one out, and inviting its router."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final

from flask import Blueprint, Response, jsonify, request
from pydantic import Field

from appliance.console.api.openapi_parts import REF, Schema, operation
from appliance.console.api.requests import Body, body, services, subject
from appliance.failover.model import LineRole
from appliance.hub.tunnels import STATES
from appliance.vpn.enrolment.service import LASTS_H, LONGEST_H


class InvitationBody(Body):
    """An invitation for a branch's router; the one before ends."""

    hours: Annotated[
        float, Field(gt=0, le=LONGEST_H, allow_inf_nan=False, description="How long it waits; a week at most")
    ] = LASTS_H
    replace: Annotated[
        bool,
        Field(strict=True, description="Revoke what the branch has now at once, not when the new router has come in"),
    ] = False


BODIES: Final = (InvitationBody,)


def add_to(blueprint: Blueprint) -> None:
    """Add these resources."""
    blueprint.get("/branches", endpoint="branches_listed")(listed)
    blueprint.get("/branches/drill", endpoint="branches_drill")(drill)
    blueprint.get("/branches/<id>/events", endpoint="branches_events")(events)
    blueprint.post("/branches/<id>/revoke", endpoint="branches_revoke")(revoke)
    for method, act in (("GET", invitation), ("POST", invite), ("DELETE", withdraw)):
        blueprint.add_url_rule("/branches/<id>/invitation", f"branches_{act.__name__}", act, methods=[method])


def listed() -> Response:
    """How every branch stands that the asker may see."""
    return jsonify(services().calls(subject()).live("branch"))


def drill() -> Response:
    """What each line would have done by itself."""
    found = services().branches(subject()).drill(request.args.get("month", ""))
    return jsonify(
        {
            "month": found.month or None,
            "months": list(found.months),
            "lines": [{**asdict(each), "enough": each.enough} for each in found.lines],
        }
    )


def events(id: str) -> Response:
    """What happened at one."""
    found = services().branches(subject()).events(id)
    return jsonify({"events": [{key: each[key] for key in _EVENT} for each in found]})


def revoke(id: str) -> Response:
    """Shut one out."""
    return jsonify({"revoked": services().branches(subject()).revoke(id, request.remote_addr or "")})


def invitation(id: str) -> Response:
    """How a branch's last invitation stands."""
    found = services().branches(subject()).invitation(id)
    return jsonify({"invitation": asdict(found) if found is not None else None})


def invite(id: str) -> Response:
    """Make one: the only answer that holds its secret."""
    guarded = services().branches(subject())
    guarded.get(id)
    wanted = body(InvitationBody)
    made = guarded.invite(id, request.remote_addr or "", hours=wanted.hours, replace=wanted.replace)
    centres = [{"host": host, "port": port} for host, port in made.centres]
    return jsonify({
        "site": made.site, "file": made.file, "code": made.code, "centres": centres, "until": made.until, "revoked": list(made.revoked),
    })  # fmt: skip


def withdraw(id: str) -> Response:
    """End it."""
    return jsonify({"ended": services().branches(subject()).withdraw(id, request.remote_addr or "")})


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
    "lines": {
        "type": "array", "description": "Over which its tunnel is kept up; none: OpenVPN alone",
        "items": {
            "type": "object", "required": ["id", "name", "role", "up", "capped", "loss"],
            "properties": {
                "id": _TEXT, "name": _TEXT, "role": {"enum": list(LineRole)},
                "up": {"type": ["boolean", "null"], "description": "Whether anything comes by it; null: nobody can tell"},
                "capped": {"type": "boolean", "description": "It is used where no other line works: it has carried its month's volume, or another was chosen at the branch"},
                "loss": _number("Share of packets lost on it, the worse direction, over seconds"),
            },
        },
    },
}  # fmt: skip
_DRILLED: Final[dict[str, Schema]] = {
    "site": _TEXT, "line": _TEXT, "name": _TEXT, "role": {"enum": list(LineRole)},
    "share": _number("Of the time that it was watched, in which it would have carried calls well (MOS 4.03 and more), 0 to 1; null: it never was"),
    "enough": {"type": "boolean", "description": "Whether calls could have relied on it: 99 % and more"},
    "watched_s": _number("Seconds"), "fair_s": _number("Seconds with a MOS of 3.6 and more"), "poor_s": _number("Seconds with less"),
    "down_s": _number("Seconds"), "alone_s": _number("Seconds in which it was the only line that was up: what it has really carried"),
    "outages": {"type": "integer"}, "longest_s": _number("Seconds of the longest"),
}  # fmt: skip
_EVENT: Final[dict[str, Schema]] = {
    "what": {**_TEXT, "description": "Such as line_down, best, centre_away; edges of other releases may tell what isn't in this one's guide"},
    "at": {"type": "integer", "description": "ms since 1970, by the edge's clock"},
    "sure": {"type": "boolean", "description": "Whether that clock was right; the order is, in any case"},
    "about": {"type": "object", "description": "What there is to say of it"},
    "number": {"type": "integer", "description": "Of its edge's journal"},
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
    "branches.Drill": {
        "type": "object", "description": "What each line would have done by itself in a month", "required": ["month", "months", "lines"],
        "properties": {
            "month": {**_MAYBE_TEXT, "description": "Such as 2026-11; null: none is known"},
            "months": {"type": "array", "items": _TEXT, "description": "Of which there is a report, newest first"},
            "lines": {
                "type": "array", "description": "Worst first",
                "items": {"type": "object", "required": list(_DRILLED), "properties": _DRILLED},
            },
        },
    },
    "branches.Events": {
        "type": "object", "description": "What happened at a branch, as its edge told it", "required": ["events"],
        "properties": {"events": {
            "type": "array", "description": "The newest first, 200 at most",
            "items": {"type": "object", "required": list(_EVENT), "properties": _EVENT},
        }},
    },
    "branches.Invited": {
        "type": "object", "description": "Told this once: what is secret is kept nowhere",
        "required": ["site", "file", "code", "centres", "until", "revoked"],
        "properties": {
            "site": _TEXT,
            "file": {**_TEXT, "description": "Secret. What the router reads, as a file or as a QR code"},
            "code": {**_TEXT, "description": "Secret. The same for the telephone; the router needs a centre's address besides"},
            "centres": {
                "type": "array", "description": "Where routers enrol, by TCP",
                "items": {"type": "object", "required": ["host", "port"], "properties": {"host": _TEXT, "port": {"type": "integer"}}},
            },
            "until": {**_TEXT, "format": "date-time"},
            "revoked": {"type": "array", "items": _TEXT, "description": "Names of certificates that were revoked at once"},
        },
    },
    "branches.Invitation": {
        "type": "object", "required": ["invitation"],
        "properties": {"invitation": {
            "type": ["object", "null"], "description": "The last one, without its secret; null: there is none",
            "required": ["site", "standing", "until", "tries", "key"],
            "properties": {
                "site": _TEXT,
                "standing": {"enum": ["waiting", "used", "burned", "over"], "description": "burned: by wrong codes. over: its time has run out"},
                "until": {**_TEXT, "format": "date-time"},
                "tries": {"type": "integer", "description": "Wrong attempts"},
                "key": {**_TEXT, "description": "Fingerprint of the key that used it, or empty"},
            },
        }},
    },
    "branches.Ended": {
        "type": "object", "required": ["ended"], "properties": {"ended": {"type": "boolean", "description": "Whether there was one"}},
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
        "/branches/drill": {
            "get": operation("show_drill", "What each line would have done by itself in a month", "branches.Drill"),
            "parameters": [{"name": "month", "in": "query", "required": False, "schema": _TEXT, "description": "Such as 2026-11; the newest when left out"}],
        },
        "/branches/{id}/events": {
            "parameters": [id],
            "get": operation("list_branch_events", "What happened at a branch, as its edge told it", "branches.Events"),
        },
        "/branches/{id}/revoke": {
            "parameters": [id],
            "post": operation("revoke_branch", "Revoke all certificates of a branch: it is cut off within a second", "Revoked"),
        },
        "/branches/{id}/invitation": {
            "parameters": [id],
            "get": operation("show_invitation", "How a branch's last invitation stands, without its secret", "branches.Invitation"),
            "post": operation("invite_router", "Invite a branch's router: a file and a code, told this once", "branches.Invited", body="InvitationBody"),
            "delete": operation("end_invitation", "End a branch's invitation", "branches.Ended"),
        },
    }  # fmt: skip
