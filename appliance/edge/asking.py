"""Asks this machine's edge how it stands, and orders what its owner and its console may order (:mod:`appliance.edge.orders`)."""

from __future__ import annotations

import base64
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import UnavailableError
from appliance.core.errors_json import error_from
from appliance.engine.unix import connect

ASK_S: Final = 5.0
BUNDLE_S: Final = 60.0


def said(path: Path, order: bytes = b"", timeout_s: float = ASK_S) -> Any:
    """What whoever listens at a socket of an edge's says, by itself or to one line. :raises UnavailableError: ``edge_not_running``."""
    heard = b""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connect(connection, path)
            if order:
                connection.sendall(order)
            while chunk := connection.recv(65536):
                heard += chunk
        return json.loads(heard)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UnavailableError(
            "no edge runs here", "start it: centralino edge run", error_id="edge_not_running"
        ) from error


@dataclass(frozen=True, slots=True)
class Edge:
    """The agent of this machine. ``orders``: its socket for them. Everything raises UnavailableError: ``edge_not_running``."""

    orders: Path

    def status(self) -> dict[str, Any]:
        """See :meth:`appliance.edge.agent.Agent.told`."""
        return dict(self._done({"do": "status"}))

    def measure(self, seconds: float, line: int | None = None) -> dict[str, Any]:
        """Begin a test call; with ``line``, a drill. See :meth:`appliance.edge.measuring.Measuring.begin`."""
        return dict(self._done({"do": "measure", "seconds": seconds, "line": line}))

    def measurement(self) -> dict[str, Any] | None:
        """How it goes, or went; None: there was none."""
        found = self._done({"do": "measurement"})
        return None if found is None else dict(found)

    def end(self) -> None:
        """End it."""
        self._done({"do": "end"})

    def choose(self, line: int | None, seconds: float = 0) -> None:
        """Use that line alone as long as it works, for so long; None: as they are judged. See :meth:`appliance.edge.relay.EdgeRelay.choose`."""
        self._done({"do": "choose", "line": line, "seconds": seconds})

    def set_up(self, device: str, access: dict[str, Any] | None) -> None:
        """Set an interface up so, on trial; None: as the document says. See :meth:`appliance.edge.links.own.Own.change`."""
        self._done({"do": "network", "device": device, "access": access})

    def keep(self) -> None:
        """What is on trial is right. :raises NotFoundError: ``no_trial``."""
        self._done({"do": "keep"})

    def events(self, count: int) -> list[dict[str, Any]]:
        """What happened of late, the newest first."""
        return list(self._done({"do": "events", "count": count}))

    def logs(self, name: str, lines: int) -> dict[str, Any]:
        """The end of a log without secrets (``lines``), its ``name``, and ``names`` of those that there are. Without a name the first. :raises NotFoundError: there is none of that name."""
        return dict(self._done({"do": "logs", "name": name, "lines": lines}))

    def bundle(self) -> bytes:
        """The support bundle, a ``.tar.gz``."""
        return base64.b64decode(self._done({"do": "bundle"}, BUNDLE_S))

    def _done(self, order: dict[str, Any], timeout_s: float = ASK_S) -> Any:
        answer = said(self.orders, json.dumps(order).encode() + b"\n", timeout_s)
        if not isinstance(answer, dict) or not answer.keys() & {"done", "error"}:
            raise UnavailableError(
                "the edge says what can't be read", "is it of another release? Start it again", error_id="edge_garbled"
            )
        if "error" in answer:
            raise error_from(answer["error"])
        return answer["done"]


def access_of(*, dhcp: bool, addresses: list[str], routers: list[str], names: list[str]) -> dict[str, Any]:
    """How an interface gets its addresses, for :meth:`Edge.set_up`: as a line's ``access`` in the document."""
    if dhcp:
        return {"type": "dhcp"}
    return {"type": "static", "addresses": addresses, "gateways": routers, "name_servers": names}
