"""Asks a running hub, by its Unix socket: how it is, the live state, and things to be done to calls."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import UnavailableError
from appliance.core.errors_json import error_from
from appliance.engine.unix import connect

ASK_S: Final = 2.0
DO_S: Final = 15.0
"""Longer than the engine takes to answer anything that is asked of it here."""


@dataclass(frozen=True, slots=True)
class State:
    """Objects of one type as they are now. ``stale``: why they may be out of date, or empty; then as they were at ``since`` (ms)."""

    objects: tuple[Mapping[str, Any], ...]
    stale: str
    since: int


class HubClient:
    """Each question is a connection of its own. All raise UnavailableError (``hub_unreachable``)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def health(self) -> dict[str, Any]:
        """``state`` (``live``, ``stale``), ``reason`` and number of ``sockets``."""
        return self._ask("GET", "/health", ASK_S)

    def state(self, type: str) -> State:
        """All objects of a type: ``extension``, ``call``, ``trunk``, ``link``, ``branch``, ``alarm``."""
        told = self._ask("GET", f"/inside/state/{type}", ASK_S)
        return State(tuple(told["objects"]), told["reason"], told["since"])

    def do(self, act: str, **what: Any) -> Any:
        """Do something to a call; errors are those of :mod:`appliance.hub.control`."""
        return self._ask("POST", f"/inside/do/{act}", DO_S, json.dumps(what))["done"]

    def _ask(self, method: str, path: str, timeout_s: float, body: str | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("hub", timeout=timeout_s)
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(timeout_s)
            connect(connection.sock, self._path)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            found = dict(json.loads(answer.read()))
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise UnavailableError(
                "the live hub doesn't answer: what happens now can't be shown; calls go on",
                "it is started again by itself; its log says why: log/hub.log of the state directory",
                error_id="hub_unreachable",
            ) from error
        finally:
            connection.close()
        if answer.status == http.client.CONFLICT:
            raise error_from(found)
        return found
