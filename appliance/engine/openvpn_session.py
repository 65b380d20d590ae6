"""One connection to OpenVPN's management interface: one command at a time, events in between."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from appliance.core.errors import CentralinoError, CorruptError, Fault, InvalidError, UnavailableError
from appliance.engine.openvpn_messages import (
    EVENTS,
    REPLY_MAX,
    Event,
    Failure,
    Info,
    Message,
    Parser,
    PasswordPrompt,
    Row,
    Success,
    command,
    quoted,
)

COMMAND_TIMEOUT_S: Final = 5.0
"""Time for the answer to a command: OpenVPN writes the status of 500 clients, 200 kB, beside its packets."""
PATH_MAX: Final = 107
"""Bytes of a Unix socket's path (unix(7)); OpenVPN cuts a longer one without a word."""
_CHUNK: Final = 1 << 16
Trouble = Literal["gone", "refused", "busy", "silent", "garbled", "password", "held"]


def management_lines(path: Path, user: str, group: str) -> list[str]:
    """Lines of a daemon's configuration that open its management interface at a Unix socket for one user.

    OpenVPN makes the socket writable for everyone and looks at who connects: the user **and** the primary group must be
    those given here, also for root. Put it in a directory that only the two can enter, so that nobody else can take a
    place in the queue. There is no password: it would be one more secret in a file, and the kernel already says who asks.

    Not among them, and never to be: ``management-client`` and ``management-signal`` (the daemon would end or restart when
    its manager does), ``management-hold`` (it wouldn't start without one), ``management-client-auth`` (nobody would get
    in without one), ``management-query-…``. From ``verb 3`` on the daemon logs every command, so each reading of its
    status: ``verb 2`` is enough for it.

    :raises InvalidError: ``vpn_management_socket``: a path that OpenVPN would cut or read wrongly, or an empty name.
    """
    faults = [
        Fault(f"openvpn/{name}", "a name of letters, digits, - and _ is wanted", error_id="vpn_management_socket")
        for name, value in (("user", user), ("group", group))
        if not value or quoted(value) != value
    ]
    faults += [fault] if (fault := _path_fault(path)) else []
    if faults:
        raise InvalidError(faults)
    return [
        f"management {quoted(str(path))} unix",
        f"management-client-user {user}",
        f"management-client-group {group}",
        "management-log-cache 250",
    ]


def _path_fault(path: Path) -> Fault | None:
    text = str(path)
    if len(text.encode()) > PATH_MAX:
        message = f"the path of a socket has {PATH_MAX} bytes at most, this one {len(text.encode())}"
        return Fault("openvpn/socket", message, "a shorter directory", "vpn_management_socket")
    if not path.is_absolute() or any(mark in text for mark in "\r\n\0"):
        message = "an absolute path without line breaks is wanted"
        return Fault("openvpn/socket", message, error_id="vpn_management_socket")
    return None


def check_path(path: Path) -> None:
    """:raises InvalidError: ``vpn_management_socket``: no socket can have this path."""
    if fault := _path_fault(path):
        raise InvalidError([fault])


def trouble(kind: Trouble, path: Path, reason: str = "") -> UnavailableError:
    """What stands between us and a daemon, in words for people."""
    match kind:
        case "gone":
            return UnavailableError(
                f"the VPN daemon's management interface at {path} can't be reached: {reason}",
                "is the VPN daemon running? Its log says more",
                error_id="vpn_management_gone",
            )
        case "refused":
            return UnavailableError(
                f"the VPN daemon's management interface at {path} refuses this process: {reason}",
                "the daemon's management-client-user and management-client-group name who may connect",
                error_id="vpn_management_refused",
            )
        case "busy":
            return UnavailableError(
                f"the VPN daemon's management interface at {path} is taken by another program, or the daemon hangs",
                "only one program may be connected: end the other; if there is none, restart the VPN daemon",
                error_id="vpn_management_busy",
            )
        case "silent":
            return UnavailableError(
                f"the VPN daemon's management interface at {path} doesn't answer: {reason}",
                "if that lasts, the VPN daemon hangs: restart it",
                error_id="vpn_management_silent",
            )
        case "garbled":
            return UnavailableError(
                f"the VPN daemon's management interface at {path} says what nobody understands: {reason}",
                "is this the socket of OpenVPN 2.6?",
                error_id="vpn_management_garbled",
            )
        case "password":
            return UnavailableError(
                f"the VPN daemon's management interface at {path} asks for a password",
                "take the password out of the daemon's management line: who connects is enough",
                error_id="vpn_management_password",
            )
        case "held":
            return UnavailableError(
                f"the VPN daemon at {path} waits to be released",
                "release it, and take management-hold out of its configuration",
                error_id="vpn_management_held",
            )


class CommandRefusedError(CentralinoError):
    """The daemon answered a command by ``ERROR:``; ``said`` is its text."""

    def __init__(self, message: str, *, said: str, error_id: str = "vpn_command_refused") -> None:
        super().__init__(message, error_id=error_id)
        self.said = said


class _Pending:
    """The command that waits for its answer."""

    def __init__(self, name: str, *, rows: bool) -> None:
        self.name, self.wants_rows = name, rows
        self.rows: list[str] = []
        self.sent = False
        self._size = 0
        self.done: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()

    def take(self, message: Message) -> None:
        """:raises CorruptError: it isn't an answer to this."""
        if isinstance(message, Failure):
            said = message.text
            self._finish(
                CommandRefusedError(
                    f"the VPN daemon refused {self.name}: {said}", said=said, error_id="vpn_command_refused"
                )
            )
        elif isinstance(message, Success) and not self.wants_rows:
            self._finish([message.text])
        elif isinstance(message, Row) and self.wants_rows:
            self._size += len(message.text) + 1
            if self._size > REPLY_MAX:
                raise CorruptError("the VPN daemon's answer has no end", error_id="vpn_protocol")
            self.rows.append(message.text)
        elif self.wants_rows and not isinstance(message, Success):
            self._finish(self.rows)
        else:
            raise CorruptError(f"the VPN daemon's answer to {self.name} is none", error_id="vpn_protocol")

    def _finish(self, result: list[str] | Exception) -> None:
        if self.done.done():
            return
        if isinstance(result, Exception):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


class Session:
    """A connection. :meth:`read` has to run for as long as it is to be used.

    :param event: is called in the event loop with each event, and must not block it.
    """

    def __init__(
        self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, event: Callable[[Event], None]
    ) -> None:
        self._path, self._reader, self._writer, self._event = path, reader, writer, event
        self._turn = asyncio.Lock()
        self._pending: _Pending | None = None
        self._greeting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._broken: UnavailableError | None = None
        self._exchanges: set[asyncio.Task[list[str]]] = set()

    @classmethod
    async def connect(cls, path: Path, event: Callable[[Event], None]) -> Session:
        """:raises UnavailableError: ``vpn_management_gone``, ``…_refused``, ``…_busy``."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            connection.connect(os.fspath(path))  # at once or not at all: a Unix socket is never "in progress"
            reader, writer = await asyncio.open_unix_connection(sock=connection)
        except OSError as error:
            connection.close()
            if error.errno == errno.EAGAIN:  # others wait already, as many as OpenVPN lets wait
                raise trouble("busy", path) from error
            refused = error.errno in {errno.EACCES, errno.EPERM}
            raise trouble("refused" if refused else "gone", path, error.strerror or str(error)) from error
        except BaseException:
            connection.close()
            raise
        return cls(path, reader, writer, event)

    async def greeted(self, timeout_s: float) -> bool:
        """Wait for the greeting, which comes when it is our turn; whether it came in time.

        :raises UnavailableError: the connection has ended.
        """
        if self._broken:
            raise self._broken
        await asyncio.wait([self._greeting], timeout=timeout_s)
        if self._greeting.done():
            self._greeting.result()
        return self._greeting.done()

    async def read(self) -> None:
        """Read and hand out until the connection ends; never returns otherwise. Why: the error of every waiting command."""
        parser = Parser()
        try:
            while data := await self._reader.read(_CHUNK):
                for message in parser.feed(data):
                    self._take(message)
                await asyncio.sleep(0)  # a flood mustn't hold up everything else
            if self._greeting.done():
                reason = "the daemon hung up"
                self.close(trouble("gone", self._path, reason))
            else:
                reason = "it hung up without a greeting"
                self.close(trouble("refused", self._path, reason))
        except CorruptError as error:
            self.close(trouble("garbled", self._path, error.message))
        except UnavailableError as error:
            self.close(error)
        except OSError as error:
            self.close(trouble("gone", self._path, error.strerror or str(error)))
        finally:
            reason = "given up"
            self.close(trouble("gone", self._path, reason))

    def _take(self, message: Message) -> None:
        if isinstance(message, PasswordPrompt):
            raise trouble("password", self._path)
        if not self._greeting.done():
            if not isinstance(message, Info):
                raise CorruptError("no greeting", error_id="vpn_protocol")
            self._greeting.set_result(None)
        if isinstance(message, EVENTS):
            self._event(message)
        elif self._pending is None:
            raise CorruptError("an answer that nobody asked for", error_id="vpn_protocol")
        else:
            self._pending.take(message)

    async def one(self, *words: str) -> str:
        """Send a command that is answered by one line; its text.

        :raises CommandRefusedError: ``vpn_command_refused``.
        :raises UnavailableError: no answer in time (the connection ends by that), or it is gone.
        :raises InvalidError: ``vpn_command``: a word that can't be sent.
        """
        return (await self._ask(words, rows=False))[0]

    async def rows(self, *words: str, begun: Callable[[], None] | None = None) -> list[str]:
        """Send a command that is answered by lines and ``END``; those lines. Raises what :meth:`one` does.

        :param begun: is called when it is its turn.
        """
        return await self._ask(words, rows=True, begun=begun)

    async def _ask(self, words: tuple[str, ...], *, rows: bool, begun: Callable[[], None] | None = None) -> list[str]:
        # A task of its own: when who asks is cancelled, the answer comes nevertheless and mustn't be taken for the next.
        data, pending = command(*words), _Pending(words[0], rows=rows)
        exchange = asyncio.create_task(self._exchange(data, pending, begun))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._exchanges.discard)
        exchange.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            return await asyncio.shield(exchange)
        except asyncio.CancelledError:
            if not pending.sent:
                exchange.cancel()
            raise

    async def _exchange(self, data: bytes, pending: _Pending, begun: Callable[[], None] | None) -> list[str]:
        async with self._turn:
            if self._broken:
                raise self._broken
            if begun:
                begun()
            self._pending = pending
            try:
                self._writer.write(data)
                pending.sent = True
                async with asyncio.timeout(COMMAND_TIMEOUT_S):
                    return await pending.done
            except TimeoutError:
                reason = f"no answer to {pending.name} in time"
                silent = trouble("silent", self._path, reason)
                self.close(silent)
                raise silent from None
            finally:
                self._pending = None

    def close(self, error: UnavailableError) -> None:
        """End it; whoever waits gets ``error``."""
        if self._broken is None:
            self._broken = error
            waiting: list[asyncio.Future[None] | asyncio.Future[list[str]]] = [self._greeting]
            waiting += [self._pending.done] if self._pending else []
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # somebody may have gone away meanwhile
        self._writer.close()

    async def closed(self) -> None:
        """Wait until it is really closed, a second at most."""
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await self._writer.wait_closed()
