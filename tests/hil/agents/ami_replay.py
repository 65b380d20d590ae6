"""Plays the engine's manager interface from what a real engine once said: for load that an engine beside it would
disturb, and for moments that can't be hit with a real one. Speaks the protocol by TCP, with login and lists.

    async with AmiReplay("secret") as engine:
        engine.tables["Status"] = [lines of a channel, …]
        engine.send(lines of an event)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from appliance.engine.ami_messages import Parser

Lines = Sequence[tuple[str, str]]
LISTS = ("Status", "PJSIPShowContacts", "PJSIPShowRegistrationsOutbound", "DBGetTree")


def block(lines: Iterable[tuple[str, str]]) -> bytes:
    """A message as bytes."""
    return ("".join(f"{key}: {value}\r\n" for key, value in lines) + "\r\n").encode()


class AmiReplay:
    """One manager interface on a port of the loopback. ``silent``: takes actions and answers none."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.port = 0
        self.silent = False
        self.logins = 0
        self.tables: dict[str, list[Lines]] = {name: [] for name in LISTS}
        self._listening: set[asyncio.StreamWriter] = set()
        self._connected: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.die()

    async def listen(self) -> None:
        """Be there (again, on the same port)."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def die(self) -> None:
        """Be gone, with all connections."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._connected):
            writer.transport.abort()
        await self._server.wait_closed()

    def send(self, *events: Lines) -> None:
        """Tell events to whoever listens."""
        data = b"".join(block(lines) for lines in events)
        for writer in self._listening:
            writer.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connected.add(writer)
        writer.write(b"Asterisk Call Manager/11.0.0\r\n")
        parser = Parser()
        try:
            while data := await reader.read(1 << 16):
                for message in parser.feed(data):
                    if not self.silent:
                        self._answer(writer, message.as_dict())
        except ConnectionError:
            pass
        finally:
            self._connected.discard(writer)
            self._listening.discard(writer)
            writer.close()

    def _answer(self, writer: asyncio.StreamWriter, action: dict[str, str]) -> None:
        name, identity = action["Action"], ("ActionID", action.get("ActionID", ""))
        if name == "Login" and action.get("Secret") != self.secret:
            writer.write(block((("Response", "Error"), identity, ("Message", "Authentication failed"))))
            return
        if name == "Login":
            self.logins += 1
        if name == "Events":
            self._listening.add(writer)
        if name not in self.tables:
            writer.write(block((("Response", "Success"), identity)))
            return
        rows = self.tables[name]
        if name == "DBGetTree":
            rows = [row for row in rows if dict(row)["Key"].startswith(f"/{action['Family']}/")]
        if "Channel" in action:
            rows = [row for row in rows if dict(row)["Channel"] == action["Channel"]]
        writer.write(block((("Response", "Success"), identity, ("EventList", "start"))))
        for row in rows:
            writer.write(block((row[0], identity, *row[1:])))
        writer.write(block((("Event", f"{name}Complete"), identity, ("EventList", "Complete"))))
