"""What the console asks of the hub, by its Unix socket: the live state, and things to be done to calls.

The gate passes none of this on. Whoever can connect here is one of the web processes; who asks *it*, and whether that person may,
the console has looked at before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from quart import Blueprint, Response, request
from quart.typing import ResponseReturnValue

from appliance.core.errors import CentralinoError, Fault, InvalidError, NotFoundError
from appliance.core.errors_json import error_json
from appliance.hub.attended import AttendedControl
from appliance.hub.rooms import OBJECTS, as_json
from appliance.hub.service import Hub

Body = Mapping[str, Any]


def inside(hub: Hub) -> Blueprint:
    """The routes: ``GET /inside/state/<type>`` and ``POST /inside/do/<act>``."""
    routes = Blueprint("inside", __name__, url_prefix="/inside")
    control = AttendedControl(hub.link)
    acts: dict[str, Callable[[Body], Awaitable[Any]]] = {
        "place": lambda body: control.place(body["device"], body["number"], body.get("variables")),
        "pick_up": lambda body: control.pick_up(body["party"], body["device"]),
        "hang_up": lambda body: control.hang_up(body["party"]),
        "transfer": lambda body: control.transfer(body["party"], body["number"]),
        "redirect": lambda body: control.redirect(body["party"], body["number"]),
        "consult": lambda body: control.consult(body["party"], body["number"]),
        "complete": lambda body: control.complete(body["party"], body.get("second", "")),
        "take_back": lambda body: control.take_back(body["party"]),
        "answer": lambda body: control.tell(body["party"], "answer"),
        "hold": lambda body: control.tell(body["party"], "hold"),
        "resume": lambda body: control.tell(body["party"], "resume"),
    }

    @routes.get("/state/<type>")
    async def state(type: str) -> ResponseReturnValue:
        if type not in OBJECTS:
            return _answer(error_json(NotFoundError(f"there is no live state of {type}")), 409)
        hub.gather()  # what the engine said last is in it
        told = {
            "state": "stale" if hub.sockets.stale else "live",
            "reason": hub.sockets.stale,
            "since": hub.sockets.since,
        }
        return _answer(told | {"objects": hub.rooms.objects(type)})

    @routes.post("/do/<act>")
    async def do(act: str) -> ResponseReturnValue:
        try:
            done = await acts[act](await request.get_json(force=True))
        except (KeyError, TypeError) as error:
            fault = Fault("request", f"is not understood: {error}", "see docs/hub.md", "request")
            return _answer(error_json(InvalidError([fault])), 409)
        except CentralinoError as error:
            return _answer(error_json(error), 409)
        return _answer({"done": done})

    return routes


def _answer(data: Any, status: int = 200) -> Response:
    return Response(as_json(data), status, mimetype="application/json")
