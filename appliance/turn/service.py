"""The TURN server's process besides its keeper: makes credentials for the console, which never sees the secret.

Whoever connects to ``run/turn.sock`` (root, and the web processes' group) sends one line and gets one JSON object: ``status``, or
``credentials WHO`` for a person or program that the console knows.

What happens when somebody connects and says nothing, or reads nothing: it is let go after two seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from typing import Any, Final

from appliance.core.errors import CentralinoError, UnavailableError
from appliance.engine.unix import connect, listening
from appliance.paths import Paths
from appliance.turn.credentials import Credentials
from appliance.turn.keeper import Keeper

_log = logging.getLogger("centralino.turn")

ROUND_S: Final = 0.5
ASK_S: Final = 2.0
LINE_MAX: Final = 512
SOCKET_MODE: Final = 0o660


class Service:
    """See this module. ``group``: numeric group whose members may ask, None: ours."""

    def __init__(self, keeper: Keeper, paths: Paths, group: int | None = None) -> None:
        self._keeper, self._paths, self._group = keeper, paths, group

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; coturn ends with it. :raises RefusedError: ``already_running``."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        self._paths.turn_socket.parent.mkdir(parents=True, exist_ok=True)
        with listening(self._paths.turn_socket, SOCKET_MODE) as listener:
            listener.listen(64)
            if self._group is not None:
                os.chown(self._paths.turn_socket, -1, self._group)
            own = socket.socket(fileno=os.dup(listener.fileno()))  # asyncio closes it
            server = await asyncio.start_unix_server(self._answer, sock=own, limit=LINE_MAX)
            try:
                while not stopping.is_set():
                    await asyncio.to_thread(self._keeper.tend)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(ROUND_S):
                            await stopping.wait()
            finally:
                server.close()
                if stopping.is_set():  # a mistake of ours is no reason to end relays
                    await asyncio.to_thread(self._keeper.stop)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, ValueError):  # ValueError: a line without end
            async with asyncio.timeout(ASK_S):
                line = await reader.readline()
            writer.write(json.dumps(self.told(line.decode(errors="replace").strip())).encode() + b"\n")
            async with asyncio.timeout(ASK_S):
                await writer.drain()
        writer.close()

    def told(self, asked: str) -> dict[str, Any]:
        """The answer to one line."""
        verb, _, who = asked.partition(" ")
        if verb == "status":
            pid = self._keeper.pid
            return {"wanted": self._keeper.wanted, "pid": pid, "faults": list(self._keeper.faults)}
        if verb != "credentials" or not who:
            return {"error_id": "bad_line", "message": "that is no question", "hint": "status, or credentials WHO"}
        try:
            made = self._keeper.credentials(who)
        except CentralinoError as error:
            return {"error_id": error.error_id, "message": error.message, "hint": error.hint}
        return {"username": made.username, "password": made.password, "expires": made.expires}


def ask(paths: Paths, line: str) -> dict[str, Any]:
    """Ask the process that runs. :raises UnavailableError: ``turn_not_running``, and what it says itself."""
    said = b""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2 * ASK_S)
            connect(connection, paths.turn_socket)
            connection.sendall(line.encode() + b"\n")
            while chunk := connection.recv(65536):
                said += chunk
        found = dict(json.loads(said))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UnavailableError(
            "the TURN server isn't running here",
            "it runs where CENTRALINO_TURN=on: centralino status",
            error_id="turn_not_running",
        ) from error
    if "error_id" in found:
        raise UnavailableError(found["message"], found["hint"], error_id=found["error_id"])
    return found


def ask_credentials(paths: Paths, who: str) -> Credentials:
    """Credentials for a person or program. :raises UnavailableError: as :func:`ask`."""
    found = ask(paths, f"credentials {who}")
    return Credentials(found["username"], found["password"], found["expires"])
