"""Events of Asterisk's manager interface (AMI) as they come, for asyncio: one connection that is made again for ever.

Nothing is queued here: an event is handed to the listener in the moment it was read. Whoever is too slow makes the
engine wait, and the engine hangs up on whom it can't write to for a second (``writetimeout`` in manager.conf); what
follows is a new connection, whose listener begins with a snapshot. So nothing is ever lost without being told.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from appliance.core.errors import CentralinoError, UnavailableError
from appliance.engine.ami import AmiError
from appliance.engine.ami_messages import Message, Parser, serialise
from appliance.engine.netns import socket_in

_log = logging.getLogger("centralino.ami")

ACTION_TIMEOUT_S: Final = 15.0
CONNECT_TIMEOUT_S: Final = 5.0
PING_S: Final = 3.0
"""Pause between two looks whether the engine still answers; one that doesn't within the same time counts as lost."""
BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Pauses before the next attempts to connect; the last one for ever."""
_CHUNK: Final = 1 << 16


class Listener(Protocol):
    """Who is told. All are called in the event loop and must not block it."""

    async def connected(self, session: AmiSession) -> None:
        """A new connection is there: events come from now on, and actions can be sent. Raising ends the connection."""

    def event(self, message: Message) -> None:
        """An event that no action asked for. Raising ends the connection."""

    def lost(self, reason: str) -> None:
        """The connection is gone, or couldn't be made: what is known may be out of date. Called once for each loss."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the engine's manager interface is.

    :param secret: reads the password; asked anew for each connection, in a thread.
    :param network_namespace: the engine's, when it isn't ours.
    """

    secret: Callable[[], str] = field(repr=False)
    port: int = 5038
    host: str = "127.0.0.1"
    username: str = "centralino"
    network_namespace: str | None = None


class AmiSession:
    """One logged-in connection. Actions may be sent by several tasks at once; answers find them by ActionID."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener: Listener) -> None:
        self._reader, self._writer, self._listener = reader, writer, listener
        self._ids = itertools.count(1)
        self._waiting: dict[str, tuple[list[Message], asyncio.Future[list[Message]]]] = {}
        self._broken = ""

    async def action(
        self,
        name: str,
        fields: Mapping[str, str | Sequence[str]] | None = None,
        *,
        timeout_s: float = ACTION_TIMEOUT_S,
    ) -> list[Message]:
        """Send an action; its response and, if it is a list, all its events but the closing one.

        :raises AmiError: the engine refused it.
        :raises UnavailableError: no answer in time, or the connection broke meanwhile.
        """
        if self._broken:
            raise _unreachable(self._broken)
        identity = f"s{next(self._ids)}"
        future: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        self._waiting[identity] = ([], future)
        try:
            self._writer.write(serialise(name, {**(fields or {}), "ActionID": identity}))
            async with asyncio.timeout(timeout_s):
                answers = await future
        except TimeoutError:
            raise _unreachable(f"no answer to {name} in time") from None
        finally:
            self._waiting.pop(identity, None)
        if not answers[0].succeeded:
            raise AmiError(name, answers[0])
        return [each for each in answers if each.get("EventList") != "Complete"]

    async def list(self, name: str, fields: Mapping[str, str] | None = None) -> list[Message]:
        """The events of an action that lists something. The engine calls an empty list an error; here it is one."""
        try:
            return (await self.action(name, fields))[1:]
        except AmiError as error:
            said = error.response.get("Message").lower()
            if said.startswith("no ") or "not found" in said:
                return []
            raise

    async def read(self) -> None:
        """Read and hand out until the connection ends.

        :raises OSError: it broke.
        :raises CorruptError: what comes is no AMI.
        """
        parser = Parser()
        try:
            while data := await self._reader.read(_CHUNK):
                for message in parser.feed(data):
                    self._take(message)
                await asyncio.sleep(0)  # a burst of events mustn't hold up everything else
            raise ConnectionResetError("the engine hung up")
        finally:
            self.close("the connection is closed")

    def _take(self, message: Message) -> None:
        waiting = self._waiting.get(message.get("ActionID"))
        if waiting is None:
            if message.event:
                self._listener.event(message)
            return
        answers, future = waiting
        answers.append(message)
        if _complete(answers) and not future.done():
            future.set_result(answers)

    def close(self, reason: str) -> None:
        """End it; whoever waits for an answer gets ``reason``."""
        self._broken = self._broken or reason
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(_unreachable(reason))
        self._writer.close()


class AmiStream:
    """Keeps one connection with events for as long as :meth:`run` runs.

    :param events: classes of events, ``call,user``.
    :param only: names of events; all of these classes when empty. The engine itself leaves out the others.
    """

    def __init__(self, place: Place, listener: Listener, *, events: str, only: Sequence[str] = ()) -> None:
        self._place, self._listener = place, listener
        self._events, self._only = events, only

    async def run(self) -> None:
        """Connect, listen, connect again; ends by cancellation only."""
        failures = 0
        while True:
            try:
                await self._once()
            except (CentralinoError, OSError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            except Exception as error:  # a mistake of ours; the next connection begins with a snapshot  # noqa: BLE001
                _log.exception("while listening to the engine")
                reason = type(error).__name__
            else:
                failures, reason = 0, "the engine hung up"
            self._listener.lost(reason)
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1

    async def _once(self) -> None:
        """One connection from beginning to end; returns when one that was complete has ended."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await self._connect()
        session = AmiSession(reader, writer, self._listener)
        reading = asyncio.create_task(session.read())
        complete = False
        try:
            await self._log_in(session)
            await self._listener.connected(session)
            complete = True
            while not reading.done():
                await session.action("Ping", timeout_s=PING_S)
                await asyncio.wait([reading], timeout=PING_S)
            reading.result()
        except (CentralinoError, OSError):
            if not complete:
                raise
        finally:
            session.close("given up")
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await reading
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        family = socket.AF_INET6 if ":" in self._place.host else socket.AF_INET
        connection = await asyncio.to_thread(socket_in, self._place.network_namespace, family)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(connection, (self._place.host, self._place.port))
            reader, writer = await asyncio.open_connection(sock=connection)
        except BaseException:
            connection.close()
            raise
        try:
            await reader.readline()  # the greeting: "Asterisk Call Manager/…"
        except BaseException:
            writer.close()
            raise
        return reader, writer

    async def _log_in(self, session: AmiSession) -> None:
        secret = await asyncio.to_thread(self._place.secret)
        # Filters first: they can't be set before the login, so the events begin after them.
        await session.action("Login", {"Username": self._place.username, "Secret": secret, "Events": "off"})
        for name in self._only:
            await session.action("Filter", {"Operation": "Add", "MatchCriteria": f"action(include),name({name})"})
        await session.action("Events", {"EventMask": self._events})


def _unreachable(reason: str) -> UnavailableError:
    return UnavailableError(
        f"the engine's manager interface: {reason}",
        "is the engine running? centralino status",
        error_id="ami_unreachable",
    )


def _complete(answers: list[Message]) -> bool:
    """A list ends by its closing event; everything else is answered by its response alone."""
    if answers[0].get("EventList").lower() == "start":
        return answers[-1].get("EventList").lower() in {"complete", "cancelled"}
    return True
