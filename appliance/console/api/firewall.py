"""The firewall: what is promised and counted, ``/firewall``; who is kept out, ``/firewall/bans``, and lifting."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any, Final

from flask import Blueprint, Response, jsonify, request
from pydantic import Field

from appliance.access.seen_firewall import SeenFirewall
from appliance.console.api.openapi_parts import REF, Schema, operation
from appliance.console.api.requests import Body, body, number, services, subject
from appliance.core.errors import Fault, InvalidError, UnavailableError
from appliance.firewall.bans.asking import LIMIT, LIMIT_MAX, Counted, Standing, Told
from appliance.firewall.bans.model import Outcome, Reason
from appliance.firewall.bans.model import Service as Tried
from appliance.firewall.promise import Opening, Service
from appliance.notifications.events import timestamp

SEARCH_MAX: Final = 100


class LiftBody(Body):
    """Whose bans to lift."""

    network: Annotated[
        str, Field(max_length=100, description="An address or a network: every ban that hits any of it is lifted")
    ]


BODIES: Final = (LiftBody,)


def add_to(blueprint: Blueprint) -> None:
    """Add these resources."""
    blueprint.get("/firewall", endpoint="firewall_shown")(shown)
    blueprint.get("/firewall/bans", endpoint="firewall_bans")(bans)
    blueprint.post("/firewall/bans/lift", endpoint="firewall_lift")(lift)


def seen() -> SeenFirewall:
    """As the asker may see it. Who may not learns nothing else."""
    return services().firewall(subject())


def shown() -> Response:
    """Who may reach what, what is loaded, and what was counted."""
    found = seen()
    promised = found.promise()
    counters: list[dict[str, Any]] | None = None
    with contextlib.suppress(UnavailableError):
        counters = [plain_counter(each) for each in found.told(limit=1).counters]
    return jsonify(
        {
            "openings": [plain_opening(each) for each in promised.openings],
            "blocked": len(promised.blocked),
            "neighbours": [list(each) for each in promised.neighbours],
            "rules": services().rules(),
            "counters": counters,
        }
    )


def bans() -> Response:
    """Who is kept out: ``?search=203.0.113&limit=100``."""
    limit, search = number("limit", LIMIT, 1, LIMIT_MAX), request.args.get("search", "")
    if len(search) > SEARCH_MAX:
        raise InvalidError([Fault("query/search", "is too long", f"at most {SEARCH_MAX} characters", "search")])
    return jsonify(plain(seen().told(search, limit)))


def lift() -> Response:
    """Lift bans, and forgive."""
    found = seen()
    found.require_lift()
    return jsonify({"lifted": list(found.lift(body(LiftBody).network, request.remote_addr or ""))})


def plain_opening(opening: Opening) -> dict[str, Any]:
    """One service, open to one group of sources."""
    return {
        "sources": opening.sources.name,
        "networks": list(opening.sources.networks),
        "interface": opening.sources.interface,
        "service": opening.service.value,
        "protocol": opening.protocol,
        "ports": list(opening.ports),
        "address": opening.address,
        "at_times": opening.at_times,
    }


def plain_counter(counter: Counted) -> dict[str, Any]:
    """What was counted since the rules were loaded."""
    return {"name": counter.name, "label": counter.label, "packets": counter.packets, "bytes": counter.bytes}


def plain(told: Told) -> dict[str, Any]:
    """Bans and what isn't well."""
    return {
        "items": [plain_ban(each) for each in told.bans],
        "count": told.count,
        "spared": [plain_ban(each) for each in told.spared],
        "troubles": [{"where": each.where, "message": each.message, "hint": each.hint} for each in told.troubles],
        "missed": told.missed,
    }


def plain_ban(ban: Standing) -> dict[str, Any]:
    """One ban."""
    return {
        "network": ban.network,
        "since": timestamp(ban.since),
        "left_s": ban.left,
        "reason": ban.reason.value,
        "words": ban.words,
        "strike": ban.strike,
        "attempts": ban.attempts,
        "quarantine": ban.quarantine,
        "brief": ban.brief,
        "evidence": [
            {
                "time": timestamp(each.wall), "address": each.address, "service": each.service.value,
                "outcome": each.outcome.name.lower(), "account": each.account, "detail": each.detail,
            }
            for each in ban.evidence
        ],
    }  # fmt: skip


_TEXT: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "integer"}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}


def _object(about: str, **properties: Schema) -> Schema:
    return {"type": "object", "description": about, "required": list(properties), "properties": properties}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def schemas() -> dict[str, Schema]:
    """Openings, counters, bans."""
    evidence = _object(
        "One attempt", time=_TIME, address=_TEXT, service={"enum": [each.value for each in Tried]},
        outcome={"enum": [each.name.lower() for each in Outcome]},
        account={**_TEXT, "description": "What was tried; strangers write it"}, detail=_TEXT,
    )  # fmt: skip
    return {
        "firewall.Opening": _object(
            "One service, open to one group of sources. What isn't an opening is closed",
            sources={**_TEXT, "description": "anybody, vpn, network-<id>, trunk-<id>, media-<id> (a trunk's voice)"},
            networks={**_list(_TEXT), "description": "None: whoever comes in by the interface, or anybody"},
            interface={"type": ["string", "null"]},
            service={"enum": [each.value for each in Service]},
            protocol={"enum": ["tcp", "udp"]},
            ports={**_list(_NUMBER), "description": "First and last"},
            address={"type": ["string", "null"], "description": "At this address of ours only; null: at all"},
            at_times={"type": "boolean", "description": "Only while an invitation of a new edge waits"},
        ),
        "firewall.Counter": _object(
            "What was counted since the rules were loaded", name=_TEXT, label=_TEXT, packets=_NUMBER, bytes={"type": ["integer", "null"]}
        ),
        "firewall.Firewall": _object(
            "Who may reach what",
            openings=_list({"$ref": f"{REF}firewall.Opening"}),
            blocked={**_NUMBER, "description": "Networks that lists block"},
            neighbours={**_list(_list(_TEXT)), "description": "Networks of sites that reach each other through us, both ways round"},
            rules={
                "type": ["object", "null"], "required": ["revision", "checked", "trouble"],
                "description": "Of the kernel; null: this machine's firewall isn't ours, or the applier doesn't answer",
                "properties": {
                    "revision": {"type": ["integer", "null"], "description": "Whose rules were found or loaded last"},
                    "checked": {"type": ["string", "null"], "format": "date-time", "description": "When they were last found or loaded"},
                    "trouble": {**_TEXT, "description": "Why they aren't loaded; empty: they are"},
                },
            },
            counters={"anyOf": [_list({"$ref": f"{REF}firewall.Counter"}), {"type": "null"}], "description": "null: they can't be read now"},
        ),
        "firewall.Ban": _object(
            "A network that is kept out", network=_TEXT, since=_TIME, left_s={**_NUMBER, "description": "Seconds that it still lasts"},
            reason={"enum": [each.value for each in Reason]}, words={**_TEXT, "description": "Why, in English"},
            strike={**_NUMBER, "description": "Which ban of this network it is"}, attempts=_NUMBER,
            quarantine={"type": "boolean", "description": "A host of ours: it may call for help only"},
            brief={"type": "boolean", "description": "Nothing proves that the packets were its own"},
            evidence=_list({"$ref": f"{REF}firewall.Evidence"}),
        ),
        "firewall.Evidence": evidence,
        "firewall.Bans": _object(
            "Newest first", items=_list({"$ref": f"{REF}firewall.Ban"}), count={**_NUMBER, "description": "How many there are in all"},
            spared={**_list({"$ref": f"{REF}firewall.Ban"}), "description": "Who would have been banned lately, but is protected"},
            troubles=_list(_object("What isn't well", where=_TEXT, message=_TEXT, hint=_TEXT)),
            missed={**_NUMBER, "description": "Attempts that nobody looked at because there were too many at a time"},
        ),
        "firewall.Lifted": _object("Networks whose bans were lifted", lifted=_list(_TEXT)),
    }  # fmt: skip


def paths() -> dict[str, Any]:
    """Their part of the API's description."""
    page = [
        {"name": "search", "in": "query", "schema": {"type": "string", "maxLength": SEARCH_MAX},
         "description": "Only bans that hit this address or network, or whose own begins like this"},
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX}},
    ]  # fmt: skip
    return {
        "/firewall": {"get": operation("show_firewall", "Who may reach what, and what was counted", "firewall.Firewall")},
        "/firewall/bans": {"get": operation("list_bans", "Who is kept out, newest first", "firewall.Bans", parameters=page)},
        "/firewall/bans/lift": {
            "post": operation("lift_bans", "Lift every ban that hits a network, and forgive all of it", "firewall.Lifted", body="LiftBody")
        },
    }  # fmt: skip
