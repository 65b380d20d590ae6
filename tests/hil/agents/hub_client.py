"""A browser at the hub: keeps what it was told as a panel would, and every message for the test to read.

with HubClient(socket_path, "operator", ["extensions", "calls"]) as browser:
    browser.until(lambda: browser.calls(), "a call is seen")
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from appliance.engine.unix import connect as connect_unix
from tests.hil.agents.process import eventually

ORIGIN = "https://portal.example"


class HubClient:
    """One WebSocket and the mirror of its rooms: ``rooms[room][type][id]``."""

    def __init__(
        self, path: Path, token: str, rooms: Sequence[str], *, epoch: str = "", seq: int = 0, origin: str = ORIGIN
    ) -> None:
        self.path, self.token, self.wanted, self.origin = path, token, list(rooms), origin
        self.epoch, self.seq = epoch, seq
        self.state, self.resumed, self.close_code = "", False, 0
        self.rooms: dict[str, dict[str, dict[str, Any]]] = {}
        self.messages: list[dict[str, Any]] = []
        self._opened = contextlib.ExitStack()
        self._reader: threading.Thread | None = None
        self.connection: ClientConnection | None = None

    def __enter__(self) -> Self:
        return self.open()

    def open(self) -> Self:
        """Connect and subscribe; what is known from before is kept for resuming."""
        raw = socket.socket(socket.AF_UNIX)
        try:
            connect_unix(raw, self.path)
            opening = connect(
                "ws://portal.example/live",
                sock=raw,
                origin=self.origin,  # type: ignore[arg-type]
                additional_headers={"Cookie": f"__Host-session={self.token}", "X-Forwarded-For": "192.0.2.77"},
                max_size=None,
            )
            self.connection = self._opened.enter_context(opening)
        except BaseException:
            raw.close()
            raise
        self.connection.send(
            json.dumps({"type": "subscribe", "rooms": self.wanted, "epoch": self.epoch, "seq": self.seq})
        )
        self._reader = threading.Thread(target=self._read, args=(self.connection,), name=f"hub client {self.token}")
        self._reader.start()
        return self

    def close(self) -> None:
        """Hang up."""
        self._opened.close()
        if self._reader is not None:
            self._reader.join()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, connection: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            for frame in connection:
                for message in json.loads(frame):
                    self.take(message)
        self.close_code = connection.close_code or 0

    def take(self, message: dict[str, Any]) -> None:
        """As a panel does it: docs/hub.md."""
        type, room, data = message["type"], message["room"], message["data"]
        if type == "hello":  # numbers may begin anew
            self.epoch, self.resumed = data["epoch"], data["resumed"]
            self.seq = self.seq if data["resumed"] else 0
        else:
            self.seq = max(self.seq, message["seq"])
        if type == "snapshot":
            self.rooms[room] = {kind: {each["id"]: each for each in found} for kind, found in data.items()}
        elif type.endswith("_gone"):
            self.rooms[room][type.removesuffix("_gone")].pop(data["id"])
        elif room != "hub" and "id" in data:
            known = self.rooms[room].setdefault(type, {})
            known[data["id"]] = known.get(data["id"], {}) | data
        if room == "hub" and "state" in data:
            self.state = data["state"]
        self.messages.append(message)

    @property
    def closed(self) -> bool:
        """Whether the hub hung up."""
        return self._reader is not None and not self._reader.is_alive()

    def all(self, type: str, room: str = "") -> dict[str, Any]:
        """Objects of a type, by id."""
        return dict(self.rooms.get(room or f"{type}s", {}).get(type, {}))

    def calls(self) -> list[dict[str, Any]]:
        """Calls, oldest first."""
        return sorted(self.all("call").values(), key=lambda call: str(call["id"]))

    def extension(self, id: str) -> dict[str, Any]:
        """An extension as it is shown now."""
        return dict(self.all("extension").get(id, {"state": None}))

    def until(self, probe: Callable[[], Any], what: str, deadline_s: float = 10) -> Any:
        """Wait for something to be shown."""
        return eventually(probe, f"the browser shows that {what}; it shows {self.calls()}", deadline_s)

    def shows(self, *states: str, deadline_s: float = 10) -> None:
        """Wait until exactly calls in these states are shown."""
        wanted = sorted(states)
        eventually(
            lambda: sorted(call["state"] for call in self.calls()) == wanted,
            f"calls {wanted} are shown",
            deadline_s,
        )

    def states(self, **wanted: str) -> None:
        """Wait until extensions are shown so: ``states(ext_201="busy")``."""
        by_id = {name.replace("_", "-"): state for name, state in wanted.items()}

        def right() -> bool:
            return all(self.extension(id)["state"] == state for id, state in by_id.items())

        eventually(right, f"extensions are {by_id}", 10)

    def heard(self, type: str) -> list[dict[str, Any]]:
        """Data of all messages of a type so far."""
        return [message["data"] for message in self.messages if message["type"] == type]

    def wait_closed(self, deadline_s: float = 10) -> int:
        """Wait until the hub hangs up: the close code."""
        end = time.monotonic() + deadline_s
        assert self._reader is not None
        self._reader.join(max(0.0, end - time.monotonic()))
        assert self.closed, "the hub hasn't hung up"
        return self.close_code
