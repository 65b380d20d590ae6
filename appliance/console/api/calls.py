"""Live state, and call control: calls are placed, transferred (blind and attended), redirected, answered, held and ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Final

from flask import Blueprint, Response, jsonify, request
from pydantic import Field

from appliance.access.calls import GuardedCalls
from appliance.console.api.idempotency import Idempotency
from appliance.console.api.openapi_parts import operation
from appliance.console.api.requests import Body, body, services, subject
from appliance.core.errors import NotFoundError

LIVE: Final = ("extension", "trunk", "link", "branch", "alarm")
CONSULTATIONS: Final = ("calling", "ringing", "talking", "busy", "no_answer", "unreachable", "ended", "taken_back")
"""States of a consultation: the first three go on."""
Number = Annotated[str, Field(pattern=r"^\+?[0-9*#]{1,32}$", description="As it would be dialled at the phone")]
Party = Annotated[str, Field(min_length=1, max_length=64, description="Id of a party of the call")]


class PlaceBody(Body):
    """A call to be placed: the device rings, and once it is lifted it calls the number."""

    number: Number
    device: Annotated[str, Field(max_length=64, description="Id; empty: your own first one")] = ""
    variables: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,31}$")], Annotated[str, Field(max_length=128)]],
        Field(max_length=16, description="Given to the call as channel variables API_<name>"),
    ] = Field(default_factory=dict)


class SendBody(Body):
    """Where a call is to go, and which party sends it there."""

    party: Party
    number: Number


class PickUpBody(Body):
    """A ringing party, and the device that is to take the call."""

    party: Party
    device: Annotated[str, Field(max_length=64, description="Id; empty: your own first one")] = ""


class PartyBody(Body):
    """A party of a call."""

    party: Party


class CompleteBody(Body):
    """A party that has consulted somebody, or that takes part in two calls."""

    party: Party
    second: Annotated[
        str,
        Field(max_length=64, description="Its id in another call, to join the two without a consultation; or empty"),
    ] = ""


BODIES: Final = (PlaceBody, SendBody, PickUpBody, PartyBody, CompleteBody)


def add_to(blueprint: Blueprint) -> None:
    """Add these resources."""
    blueprint.get("/live/<type>")(live)
    blueprint.get("/calls")(listed)
    blueprint.post("/calls")(place)
    blueprint.get("/calls/<call>")(shown)
    blueprint.delete("/calls/<call>")(hang_up)
    blueprint.delete("/calls/<call>/parties/<party>")(hang_up)
    blueprint.post("/calls/<call>/transfer")(transfer)
    blueprint.post("/calls/<call>/consult")(consult)
    blueprint.post("/calls/<call>/complete")(complete)
    blueprint.post("/calls/<call>/takeback")(take_back)
    blueprint.post("/calls/<call>/redirect")(redirect)
    blueprint.post("/calls/<call>/pickup")(pick_up)
    blueprint.post("/calls/<call>/answer")(answer)
    blueprint.post("/calls/<call>/hold")(hold)
    blueprint.post("/calls/<call>/resume")(resume)


def calls() -> GuardedCalls:
    """As the asker may see and handle them."""
    return services().calls(subject())


def live(type: str) -> Response:
    """Extensions, trunks, links between sites, branches of the voice VPN, or alarms, as they are now."""
    if type not in LIVE:
        raise NotFoundError(f"there is no live state of {type}", f"there is one of {', '.join(LIVE)}")
    return jsonify(calls().live(type))


def listed() -> Response:
    """Calls that are up."""
    return jsonify(calls().live("call"))


def shown(call: str) -> Response:
    """One call."""
    return jsonify(calls().get(call))


def place() -> Response:
    """Place a call: answered once the device is being rung, with the call's id."""
    wanted = body(PlaceBody)
    found = _once(wanted, lambda: calls().place(wanted.device, wanted.number, wanted.variables))
    response = jsonify({"id": found})
    response.status_code = 202
    response.headers["Location"] = f"/api/v1/calls/{found}"
    return response


def hang_up(call: str, party: str = "") -> Response:
    """End a call, or a party's part in it."""
    calls().hang_up(call, party)
    return Response(status=204)


def transfer(call: str) -> Response:
    """Hand on whom a party talks to."""
    wanted = body(SendBody)
    return _done(wanted, lambda: calls().transfer(call, wanted.party, wanted.number))


def consult(call: str) -> Response:
    """Let whom a party talks to wait, and have it call somebody."""
    wanted = body(SendBody)
    return _done(wanted, lambda: calls().consult(call, wanted.party, wanted.number))


def complete(call: str) -> Response:
    """Join whom a party lets wait with whom it talks to."""
    wanted = body(CompleteBody)
    return _done(wanted, lambda: calls().complete(call, wanted.party, wanted.second))


def take_back(call: str) -> Response:
    """Have a party talk to the first one again."""
    wanted = body(PartyBody)
    return _done(wanted, lambda: calls().take_back(call, wanted.party))


def redirect(call: str) -> Response:
    """Send a call that rings at a party elsewhere."""
    wanted = body(SendBody)
    return _done(wanted, lambda: calls().redirect(call, wanted.party, wanted.number))


def pick_up(call: str) -> Response:
    """Take a call that rings elsewhere: answered once the device is being rung."""
    wanted = body(PickUpBody)
    return _done(wanted, lambda: calls().pick_up(call, wanted.party, wanted.device))


def answer(call: str) -> Response:
    """Have a phone answer."""
    wanted = body(PartyBody)
    return _done(wanted, lambda: calls().tell(call, wanted.party, "answer"))


def hold(call: str) -> Response:
    """Have a phone hold its call."""
    wanted = body(PartyBody)
    return _done(wanted, lambda: calls().tell(call, wanted.party, "hold"))


def resume(call: str) -> Response:
    """Have a phone go on with the call that it holds."""
    wanted = body(PartyBody)
    return _done(wanted, lambda: calls().tell(call, wanted.party, "resume"))


def _done(wanted: Body, do: Callable[[], object]) -> Response:
    def doing() -> str:
        do()
        return ""

    _once(wanted, doing)
    return Response(status=204)


def _once(wanted: Body, do: Callable[[], str]) -> str:
    """Do it, unless it was done with this ``Idempotency-Key``."""
    noted = Idempotency(services().paths.console / "idempotency.db")
    asked = json.dumps([request.method, request.path, wanted.model_dump(mode="json")], sort_keys=True)
    return noted.once(subject().id, request.headers.get("Idempotency-Key"), asked, do)


SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "Live": {
        "type": "object",
        "required": ["items", "state", "reason", "since"],
        "description": "What the hub knows; see docs/hub.md for the fields of each type",
        "properties": {
            "items": {"type": "array", "items": {"type": "object", "required": ["id"]}},
            "state": {"enum": ["live", "stale"], "description": "stale: the engine can't be reached, this may be out of date"},
            "reason": {"type": "string"},
            "since": {"type": "integer", "description": "Of the state, ms since 1970"},
        },
    },
    "Call": {
        "type": "object",
        "required": ["id", "state", "direction", "dialled", "trunk", "started", "answered", "parties", "consultation"],
        "properties": {
            "id": {"type": "string"},
            "state": {"enum": ["ringing", "up", "held"]},
            "direction": {"enum": ["internal", "inbound", "outbound", "emergency"]},
            "dialled": {"type": "string"},
            "trunk": {"type": "string"},
            "started": {"type": "integer", "description": "ms since 1970"},
            "answered": {"type": ["integer", "null"]},
            "parties": {"type": "array", "items": {"type": "object", "required": ["id", "role", "state", "number", "name"]}},
            "consultation": {
                "type": ["object", "null"],
                "required": ["by", "held", "to", "state"],
                "description": "A party that asks somebody while another one waits, or how that ended",
                "properties": {
                    "by": {"type": "string", "description": "Party that asks"},
                    "held": {"type": ["string", "null"], "description": "Party that waits; null: it has ended"},
                    "to": {"type": "array", "items": {"type": "string"}, "description": "Parties that are asked"},
                    "state": {"enum": list(CONSULTATIONS)},
                },
            },
        },
    },
    "Placed": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string", "description": "Of the call"}}},
}  # fmt: skip


def paths() -> dict[str, Any]:
    """Their part of the API's description."""
    call = {"name": "call", "in": "path", "required": True, "schema": {"type": "string"}}
    party = {"name": "party", "in": "path", "required": True, "schema": {"type": "string"}}
    key = {
        "name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "pattern": "^[!-~]{1,64}$"},
        "description": "Sent again with the same key, a request is not done twice",
    }  # fmt: skip
    type = {"name": "type", "in": "path", "required": True, "schema": {"enum": list(LIVE)}}
    acts = {
        "transfer": ("Hand on whom a party talks to (blind)", "SendBody"),
        "redirect": ("Send a call that rings at a party to another number", "SendBody"),
        "pickup": ("Take a call that rings at a party with another device", "PickUpBody"),
        "consult": (
            "Let whom a party talks to wait with music, and have it call somebody (attended transfer)",
            "SendBody",
        ),
        "complete": (
            "Join whom a party lets wait with whom it talks to; or the others of its two calls",
            "CompleteBody",
        ),
        "takeback": ("End a consultation: the party talks to the first one again", "PartyBody"),
        "answer": (
            "Have a phone answer; unsupported_by_device where it can't, device_silent where it doesn't",
            "PartyBody",
        ),
        "hold": ("Have a phone hold its call; errors as with answer", "PartyBody"),
        "resume": ("Have a phone go on with the call that it holds; errors as with answer", "PartyBody"),
    }
    return {
        "/live/{type}": {"parameters": [type], "get": operation("live", "Live state", "Live")},
        "/calls": {
            "get": operation("list_calls", "Calls that are up", "Live"),
            "post": operation("place_call", "Place a call from a device", "Placed", status=202, body="PlaceBody", parameters=[key]),
        },
        "/calls/{call}": {
            "parameters": [call],
            "get": operation("get_call", "One call that is up", "Call"),
            "delete": operation("end_call", "End a call, as far as you may handle its parties", "", status=204),
        },
        "/calls/{call}/parties/{party}": {
            "parameters": [call, party],
            "delete": operation("end_party", "End one party's part", "", status=204),
        },
        **{
            f"/calls/{{call}}/{act}": {
                "parameters": [call],
                "post": operation(f"{act}_call", summary, "", status=204, body=wanted, parameters=[key]),
            }
            for act, (summary, wanted) in acts.items()
        },
    }  # fmt: skip
