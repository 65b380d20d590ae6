"""Client of Asterisk's manager interface (AMI): synchronous, one connection, safe to share between threads.

Source: Asterisk's own documentation of actions and events (``manager show command …``).
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from appliance.core.errors import CentralinoError, NotFoundError, UnavailableError
from appliance.engine.ami_messages import Message, Parser, serialise
from appliance.engine.netns import socket_in

ACTION_TIMEOUT_S: Final = 30.0
RELOAD_TIMEOUT_S: Final = 60.0
EVENTS_KEPT: Final = 100_000
"""Events that wait to be fetched; older ones go when more come, and ``events_lost`` counts them."""
PIPELINED: Final = 64
"""Requests sent ahead of their answers: few enough to fit the socket's buffers."""
_RETRY_S = 0.05

_BUSY = re.compile(r"request queued|already in progress")
_RELOADED = re.compile(r"reloaded successfully")


Messages = list[Message]


class AmiError(CentralinoError):
    """The engine refused an action; ``response`` is what it said."""

    error_id = "ami_refused"

    def __init__(self, action: str, response: Message) -> None:
        self.response = response
        super().__init__(f"the engine refused {action}: {response.get('Message', 'without saying why')}")


class AmiClient:
    """A logged-in connection. Use it as a context manager, or :meth:`close` it.

    Responses find their action by ActionID, so that events may come in between. Threads take turns: whoever waits for
    events for long should have a connection of its own.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._parser = Parser()
        self._ids = itertools.count(1)
        self._lock = threading.RLock()
        self._events: deque[Message] = deque(maxlen=EVENTS_KEPT)
        self.events_lost = 0
        self.version = ""

    @classmethod
    def connect(
        cls,
        secret: str,
        *,
        username: str = "centralino",
        host: str = "127.0.0.1",
        port: int = 5038,
        events: str = "off",
        timeout_s: float = 10.0,
        network_namespace: str | None = None,
    ) -> Self:
        """Connect and log in.

        :param events: which events to receive: ``off``, ``on``, or classes as ``call,user``.
        :param timeout_s: seconds for connecting and logging in together.
        :raises UnavailableError: ``ami_unreachable``; ``ami_login``: wrong user or secret.
        """
        deadline = time.monotonic() + timeout_s
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        connection = socket_in(network_namespace, family)
        try:
            connection.settimeout(max(0.01, timeout_s))
            connection.connect((host, port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = cls(connection)
            client._read_banner(deadline)
            fields = {"Username": username, "Secret": secret, "Events": events}
            client.action("Login", fields, timeout_s=max(0.01, deadline - time.monotonic()))
        except OSError as error:
            connection.close()
            raise UnavailableError(
                f"the engine's manager interface at {host}:{port} can't be reached: {error.strerror or error}",
                "is the engine running? centralino status",
                error_id="ami_unreachable",
            ) from error
        except AmiError as error:
            connection.close()
            raise UnavailableError(
                f"the engine's manager interface refused the login of {username}",
                "the engine still runs with another secret: restart it",
                error_id="ami_login",
            ) from error
        except BaseException:
            connection.close()
            raise
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Log off and close; closing twice is harmless."""
        with contextlib.suppress(OSError):
            self._socket.sendall(serialise("Logoff"))
        self._socket.close()

    def _read_banner(self, deadline: float) -> None:
        banner = b""
        while not banner.endswith(b"\n"):
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            byte = self._socket.recv(1)
            if not byte:
                raise ConnectionResetError(0, "it hung up before its greeting")
            banner += byte
        self.version = banner.decode(errors="replace").strip().rpartition("/")[2]

    # Messages

    def action(
        self,
        name: str,
        fields: Mapping[str, str | Sequence[str]] | None = None,
        *,
        timeout_s: float = ACTION_TIMEOUT_S,
    ) -> Messages:
        """Send an action; return its response and, if it is a list, all its events but the closing one.

        :raises AmiError: the engine refused it.
        :raises UnavailableError: no complete answer in time, or the connection broke; connect anew after either.
        :raises InvalidError: a value with line breaks.
        """
        identity = f"c{next(self._ids)}"
        request = serialise(name, {**(fields or {}), "ActionID": identity})
        with self._lock:
            return self._converse(name, identity, request, time.monotonic() + timeout_s)

    def _converse(self, name: str, identity: str, request: bytes, deadline: float) -> Messages:
        answers: list[Message] = []
        try:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            self._socket.sendall(request)
            while True:
                for message in self._receive(deadline):
                    if message.get("ActionID") != identity:
                        self._keep(message)
                    elif "Response" in message and not message.succeeded:
                        raise AmiError(name, message)
                    else:
                        answers.append(message)
                if answers and _complete(answers):
                    return [each for each in answers if each.get("EventList") != "Complete"]
        except OSError as error:
            raise _broken(name, error) from error

    def pipeline(
        self, requests: Iterable[tuple[str, Mapping[str, str]]], *, timeout_s: float = ACTION_TIMEOUT_S
    ) -> Iterator[Messages | AmiError]:
        """Many actions, sent ahead of their answers; yields for each what :meth:`action` returns or raises, in order.

        Take all of it before the next action: the connection is held meanwhile.

        :param timeout_s: seconds for all of them together.
        :raises UnavailableError: as in :meth:`action`.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            waiting: deque[tuple[str, str, Messages]] = deque()
            for name, fields in requests:
                identity = f"c{next(self._ids)}"
                waiting.append((name, identity, []))
                self._send_ahead(name, serialise(name, {**fields, "ActionID": identity}), deadline)
                if len(waiting) >= PIPELINED:
                    yield self._first_answer(waiting, deadline)
            while waiting:
                yield self._first_answer(waiting, deadline)

    def _send_ahead(self, name: str, request: bytes, deadline: float) -> None:
        try:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            self._socket.sendall(request)
        except OSError as error:
            raise _broken(name, error) from error

    def _first_answer(self, waiting: deque[tuple[str, str, Messages]], deadline: float) -> Messages | AmiError:
        """The answer to the request that waits longest; the engine answers in order."""
        name, _, answers = waiting[0]
        while not (answers and _complete(answers)):
            try:
                messages = self._receive(deadline)
            except OSError as error:
                raise _broken(name, error) from error
            by_identity = {identity: found for _, identity, found in waiting}
            for message in messages:
                mine = by_identity.get(message.get("ActionID"))
                if mine is None:
                    self._keep(message)
                else:
                    mine.append(message)
        waiting.popleft()
        if not answers[0].succeeded:
            return AmiError(name, answers[0])
        return [each for each in answers if each.get("EventList") != "Complete"]

    def _receive(self, deadline: float) -> Messages:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionResetError(0, "the engine hung up")
        return list(self._parser.feed(data))

    def _keep(self, message: Message) -> None:
        if message.event:
            if len(self._events) == self._events.maxlen:
                self.events_lost += 1
            self._events.append(message)

    def next_event(self, timeout_s: float) -> Message | None:
        """The next event that no action asked for; ``None`` when none comes in time.

        :raises UnavailableError: the connection broke.
        """
        deadline = time.monotonic() + timeout_s
        with self._lock:
            while not self._events:
                try:
                    for message in self._receive(deadline):
                        self._keep(message)
                except TimeoutError:
                    return None
                except OSError as error:
                    raise UnavailableError(
                        f"the engine's manager interface: {error.strerror or error}", error_id="ami_unreachable"
                    ) from error
            return self._events.popleft()

    # What others need

    def command(self, line: str, *, timeout_s: float = ACTION_TIMEOUT_S) -> str:
        """Output of a CLI command.

        :raises AmiError: the CLI doesn't know the command, or it failed.
        """
        return "\n".join(self.action("Command", {"Command": line}, timeout_s=timeout_s)[0].all("Output"))

    def getvar(self, expression: str, channel: str | None = None) -> str:
        """What a variable or function gives, on a channel or globally: ``getvar("DEVICE_STATE(PJSIP/200)")``.

        At most 1,023 bytes of it. Functions that the engine calls dangerous (``DB``, ``SHELL``, ``FILE``) are blocked
        here: read the database with :meth:`db_get`.
        """
        fields = {"Variable": expression} | ({"Channel": channel} if channel else {})
        return self.action("Getvar", fields)[0].get("Value")

    def setvar(self, variable: str, value: str, channel: str | None = None) -> None:
        """Set a variable of a channel, or a global one. The engine's database is written by :meth:`db_put`."""
        fields = {"Variable": variable, "Value": value} | ({"Channel": channel} if channel else {})
        self.action("Setvar", fields)

    def db_get(self, family: str, key: str) -> str | None:
        """A value of the engine's database; ``None``: there is none."""
        return next((event.get("Val") for event in self.list("DBGet", {"Family": family, "Key": key})), None)

    def db_put(self, family: str, key: str, value: str) -> None:
        """Set a value in the engine's database; it is on disk within two seconds."""
        self.action("DBPut", {"Family": family, "Key": key, "Val": value})

    def db_delete(self, family: str, key: str | None = None) -> None:
        """Remove a value, or everything below ``family``; nothing there is fine."""
        try:
            if key is None:
                self.action("DBDelTree", {"Family": family})
            else:
                self.action("DBDel", {"Family": family, "Key": key})
        except AmiError as error:
            if "not" not in error.response.get("Message").lower():
                raise

    def list(
        self, name: str, fields: Mapping[str, str | Sequence[str]] | None = None, *, timeout_s: float = ACTION_TIMEOUT_S
    ) -> Messages:
        """The events of an action that lists something: ``list("PJSIPShowContacts")``.

        The engine calls an empty list an error; here it is an empty list.
        """
        try:
            return self.action(name, fields, timeout_s=timeout_s)[1:]
        except AmiError as error:
            if re.match(r"(?i)no .*(found|members)|database entry not found", error.response.get("Message")):
                return []
            raise

    def channels(self) -> Messages:
        """Every channel that is up (events ``CoreShowChannel``), once: one that changes while they are listed is listed again."""
        return list({each.get("Uniqueid"): each for each in self.list("CoreShowChannels")}.values())

    def show_endpoint(self, endpoint: str) -> Messages:
        """An endpoint with all that hangs on it: EndpointDetail, AorDetail, AuthDetail, TransportDetail, ContactStatusDetail…

        :raises NotFoundError: the engine has no such endpoint.
        """
        try:
            return self.action("PJSIPShowEndpoint", {"Endpoint": endpoint})[1:]
        except AmiError as error:
            raise NotFoundError(f"the engine has no endpoint {endpoint}", error_id="endpoint_missing") from error

    def hangup(self, channel: str, cause: int | None = None) -> None:
        """End a channel; ``cause``: ITU-T Q.850. A ``/pattern/`` ends all that match.

        :raises AmiError: no such channel.
        """
        self.action("Hangup", {"Channel": channel} | ({"Cause": str(cause)} if cause is not None else {}))

    def reload(self, module: str, *, timeout_s: float = RELOAD_TIMEOUT_S) -> None:
        """Reload one module and wait until the engine has really done it.

        The engine answers "request queued" and "already in progress" where it means "not yet": asked again until it
        says "reloaded". That still doesn't prove that each object was taken: read the changed ones back.

        :param module: with or without ``.so``; core parts are named as the CLI does (``manager``, ``cel``, ``http``).
        :raises UnavailableError: ``reload_timeout``.
        :raises CentralinoError: ``reload_failed``: the module refused.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            said = self.command(f"module reload {module}", timeout_s=max(0.1, deadline - time.monotonic()))
            if _RELOADED.search(said):
                return
            if not _BUSY.search(said):
                raise CentralinoError(f"the engine couldn't reload {module}: {said}", error_id="reload_failed")
            if time.monotonic() > deadline:
                raise UnavailableError(f"the engine didn't reload {module} in time: {said}", error_id="reload_timeout")
            time.sleep(_RETRY_S)


def _broken(name: str, error: OSError) -> UnavailableError:
    reason = f"no answer to {name} in time" if isinstance(error, TimeoutError) else f"{error.strerror or error}"
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
