"""Addresses of the centre's names, looked up beside everything else: a name server that is slow or gone holds nothing up, nor one that lies.
Name servers of lines that the edge sets up are asked first, each by its line; then those of the system.

Anybody on a line's way can answer for a name; that it is the centre, only the centre can prove. So an address that was proven stays while anything works by it,
whatever is said of the name. When nothing does, the proven one and what is said now are tried by turns.

What was found and what was proven last is kept in a file: an edge that starts where no name can be looked up goes where the centre was. What happens when the
file is garbage: nothing was known. When it can't be written: it is known until the agent ends.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from appliance.core.errors import CentralinoError
from appliance.vpn.files import put

_log = logging.getLogger("centralino.edge")

AGAIN_S: Final = 60.0
FAILED_S: Final = 5.0
FIRST_S: Final = 3.0
"""How long a name that was never known is waited for."""
TURN_S: Final = 10.0
"""How long each of two addresses is tried: a line is at work within two seconds where anybody answers."""


class Lookups:
    """See this module. ``file``: where what was found is kept. ``servers``: name servers of lines that the edge sets up, and their interfaces."""

    def __init__(self, file: Path, servers: Callable[[], Sequence[tuple[str, str]]] = tuple) -> None:
        self._file, self._servers = file, servers
        self._known, self._proven = self._kept()
        self._writing = threading.Lock()
        self._due: dict[str, float] = {}
        self._asking: dict[str, threading.Thread] = {}

    def address(self, host: str, working: Collection[str] = ()) -> str | None:
        """The address of a host: itself if it is one, what is known of its name, or None.

        :param working: addresses at which the centre is reached now.
        """
        with contextlib.suppress(ValueError):
            return str(ipaddress.ip_address(host))
        found, proven = self._looked_up(host), self._proven.get(host)
        if found is None or proven is None or found == proven:
            return found or proven
        if proven in working:
            return proven
        return (proven, found)[int(time.monotonic() / TURN_S) % 2]

    def prove(self, host: str, address: str) -> None:
        """The centre was reached by that name, at that address."""
        if self._proven.get(host) != address:
            _log.info("%s is at %s: the centre has proven it", host, address)
            self._proven[host] = address
            self._keep()

    def _looked_up(self, host: str) -> str | None:
        thread = self._asking.get(host)
        if (thread is None or not thread.is_alive()) and time.monotonic() >= self._due.get(host, 0.0):
            thread = self._asking[host] = threading.Thread(target=self._ask, args=(host,), daemon=True)
            thread.start()
        if host not in self._known and thread is not None:
            thread.join(FIRST_S)
        return self._known.get(host)

    def _ask(self, host: str) -> None:
        found = self._of_lines(host)
        if not found:
            with contextlib.suppress(OSError, UnicodeError):
                found = [str(each[4][0]) for each in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)]
        self._due[host] = time.monotonic() + (AGAIN_S if found else FAILED_S)
        if not found or self._known.get(host) in found:
            return
        _log.info("%s is at %s", host, found[0])
        self._known[host] = found[0]
        self._keep()

    def _of_lines(self, host: str) -> list[str]:
        """What the first name server says that says anything, each asked by its own line: one that is dead takes no other with it."""
        servers = self._servers()
        if servers:
            from appliance.edge.reach import names

            for server, device in servers:
                with contextlib.suppress(CentralinoError, OSError, ValueError):
                    said = names.ask(host, server, device)
                    if said.addresses:
                        return list(said.addresses)
        return []

    def _keep(self) -> None:
        with self._writing, contextlib.suppress(OSError):
            put(self._file, json.dumps({"known": self._known, "proven": self._proven}).encode())

    def _kept(self) -> tuple[dict[str, str], dict[str, str]]:
        try:
            found = json.loads(self._file.read_bytes())
            return _addresses(found["known"]), _addresses(found["proven"])
        except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
            return {}, {}


def _addresses(found: Mapping[str, object]) -> dict[str, str]:
    return {str(host): str(ipaddress.ip_address(str(address))) for host, address in found.items()}
