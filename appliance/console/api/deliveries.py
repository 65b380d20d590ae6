"""What was sent to whom: ``/deliveries``, ``/deliveries/<id>``, its replay; endpoints, files of exports."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any, Final

from flask import Blueprint, Response, jsonify, request
from pydantic import Field

from appliance.access.seen_deliveries import SeenDeliveries
from appliance.console.api.requests import Body, body, number, services, subject
from appliance.core.errors import Fault, InvalidError
from appliance.core.fields import ObjectId, valid_id
from appliance.notifications.events import timestamp
from appliance.notifications.runs import Run
from appliance.notifications.service import LISTED_MAX, Delivery, EndpointStatus
from appliance.notifications.state import State

PAGE: Final = 50
NUMBER_MAX: Final = 10**9 - 1


class ReplayBody(Body):
    """Which dead letters to send again; nothing: all."""

    endpoint: Annotated[ObjectId | None, Field(description="Only those of this endpoint")] = None


class TestBody(Body):
    """Whom to send an event that says nothing."""

    __test__ = False
    endpoint: Annotated[ObjectId, Field(description="Id of a notification_endpoint that is a webhook")]


def add_to(blueprint: Blueprint) -> None:
    """Add these resources."""
    blueprint.get("/deliveries", endpoint="deliveries_listed")(listed)
    blueprint.post("/deliveries/replay", endpoint="deliveries_replay_dead")(replay_dead)
    blueprint.post("/deliveries/test", endpoint="deliveries_test")(test)
    blueprint.get("/deliveries/endpoints", endpoint="deliveries_endpoints")(endpoints)
    blueprint.get("/deliveries/files", endpoint="deliveries_files")(files)
    blueprint.post("/deliveries/files/<export>/retry", endpoint="deliveries_retry")(retry)
    blueprint.get("/deliveries/<id>", endpoint="deliveries_shown")(shown)
    blueprint.delete("/deliveries/<id>", endpoint="deliveries_discard")(discard)
    blueprint.post("/deliveries/<id>/replay", endpoint="deliveries_replay")(replay)


def seen(*, edit: bool = False) -> SeenDeliveries:
    """Those that the asker may see, or do something with. Who may not learns nothing else."""
    return services().deliveries(subject(), edit=edit)


def listed() -> Response:
    """Deliveries, newest first: ``?state=dead&endpoint=crm&limit=50&before=<number>``."""
    limit = number("limit", PAGE, 1, LISTED_MAX)
    before = number("before", 0, 1, NUMBER_MAX) if "before" in request.args else None
    found = seen().listed(state=_state(), endpoint=_endpoint("endpoint"), limit=limit, before=before)
    return jsonify({"items": list(map(plain, found)), "next": found[-1].number if len(found) == limit else None})


def _state() -> State | None:
    text = request.args.get("state")
    if text is None:
        return None
    if text not in list(State):
        raise InvalidError([Fault("query/state", "is not a state", f"one of {', '.join(State)}", "state")])
    return State(text)


def _endpoint(name: str) -> str | None:
    text = request.args.get(name)
    if text is not None and not valid_id(text):
        raise InvalidError([Fault(f"query/{name}", "is not an id", "a-z, 0-9 and inner hyphens, at most 40", name)])
    return text


def shown(id: str) -> Response:
    """One delivery."""
    return jsonify(plain(seen().get(id)))


def replay(id: str) -> Response:
    """Send it again, under the same id."""
    return jsonify(plain(seen(edit=True).replay(id)))


def replay_dead() -> Response:
    """Send dead letters again."""
    return jsonify({"count": seen(edit=True).replay_dead(body(ReplayBody).endpoint)})


def discard(id: str) -> tuple[str, int]:
    """Forget a dead letter."""
    seen(edit=True).discard(id)
    return "", 204


def test() -> tuple[Response, int]:
    """Send an endpoint an event that says nothing."""
    return jsonify(plain(seen(edit=True).test(body(TestBody).endpoint))), 201


def endpoints() -> Response:
    """How each does."""
    return jsonify({"items": list(map(plain_endpoint, seen().endpoints()))})


def files() -> Response:
    """Files of scheduled exports, newest first: ``?export=billing&limit=50``."""
    found = seen().files(_endpoint("export"), number("limit", PAGE, 1, LISTED_MAX))
    return jsonify({"items": list(map(plain_file, found))})


def retry(export: str) -> Response:
    """Try an export's file now."""
    return jsonify({"count": seen(edit=True).retry(export)})


def plain(delivery: Delivery) -> dict[str, Any]:
    """A delivery; its body is null for whoever may not see every call."""
    data = asdict(delivery)
    times = {name: timestamp(data[name]) for name in ("time", "created", "next_try", "tried", "finished")}
    return {**data, **times, "body": json.loads(delivery.body) if delivery.body else None}


def plain_endpoint(status: EndpointStatus) -> dict[str, Any]:
    """How an endpoint does."""
    times = {"failing_since": timestamp(status.failing_since), "succeeded": timestamp(status.succeeded)}
    return {**asdict(status), **times}


def plain_file(run: Run) -> dict[str, Any]:
    """A file of an export."""
    times = {name: timestamp(getattr(run, name)) for name in ("since", "until", "tried", "finished")}
    return {
        "number": run.number, "export": run.export, "file": run.file, "state": run.state.value, "attempts": run.attempts,
        "first_call": run.first_call, "last_call": run.last_call, "error": run.error, **times,
    }  # fmt: skip
