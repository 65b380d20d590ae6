"""What ``centralino lab`` asks of a running lab: one JSON line each way, by a socket that only root may use.

``{"do": "impair", "link": …, "name": …}``, ``{"do": "profile", …}``, ``{"do": "status"}``; answered by ``{"done": …}``, or ``{"unknown": "link", "given": …, "known": […]}``.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path
from typing import Any, Final

from appliance.engine.unix import listening
from lab.topology import Lab, UnknownNameError
from lab.watch import Watch

MODE: Final = 0o600
ASK_S: Final = 2.0
LONGEST: Final = 4096


class Control:
    """See this module; a thread while the ``with`` lasts."""

    def __init__(self, lab: Lab, watch: Watch, path: Path) -> None:
        self._lab, self._watch, self._path = lab, watch, path
        self._stack = contextlib.ExitStack()
        self._ended = threading.Event()

    def __enter__(self) -> Control:
        self._listener = self._stack.enter_context(listening(self._path, MODE))
        self._listener.listen()
        self._listener.settimeout(0.2)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._stack.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _peer = self._listener.accept()
            except TimeoutError:
                continue
            with connection, contextlib.suppress(OSError):
                connection.settimeout(ASK_S)
                connection.sendall(json.dumps(self.answer(_line(connection))).encode() + b"\n")

    def answer(self, line: bytes) -> dict[str, Any]:
        """What an order comes to."""
        try:
            asked = json.loads(line)
            match asked["do"]:
                case "impair":
                    self._lab.impair(str(asked["link"]), str(asked["name"]))
                case "profile":
                    self._lab.profile(str(asked["link"]), str(asked["name"]))
                case "status":
                    return {"done": self._watch.now}
                case other:
                    return {"unknown": "order", "given": str(other), "known": ["impair", "profile", "status"]}
        except UnknownNameError as error:
            return {"unknown": error.what, "given": error.given, "known": error.known}
        except (ValueError, KeyError, TypeError, RecursionError):
            return {"unknown": "order", "given": "", "known": ["impair", "profile", "status"]}
        return {"done": None}


def _line(connection: socket.socket) -> bytes:
    heard = b""
    while not heard.endswith(b"\n") and len(heard) < LONGEST and (chunk := connection.recv(LONGEST)):
        heard += chunk
    return heard
