"""HTTP/1.1 (RFC 9112, by h11) over TLS 1.3 with client certificates: small requests, few connections, nobody waits for anybody.

Everything is bounded: a request's head :data:`HEAD_MAX`, its body :data:`BODY_MAX`, the time to send it :data:`REQUEST_S`, a connection without
any :data:`IDLE_S`, connections of one certificate :data:`EACH_MAX` and of all :data:`ALL_MAX`, the handshake :data:`HANDSHAKE_S`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import h11

_log = logging.getLogger("centralino.vpn.inside")

HEAD_MAX: Final = 16 * 1024
BODY_MAX: Final = 32 * 1024
CHUNK: Final = 16 * 1024
REQUEST_S: Final = 10.0
IDLE_S: Final = 180.0
HANDSHAKE_S: Final = 5.0
SEND_S: Final = 10.0
EACH_MAX: Final = 4
ALL_MAX: Final = 5000
"""Every branch may have, for a while, its former connection and its next."""
BACKLOG: Final = 512


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks. ``peer``: the client's certificate, DER, that TLS has verified against the root."""

    method: str
    path: str
    query: dict[str, str]
    etag: str | None
    body: bytes
    peer: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What it is answered; ``close``: and nothing more on this connection."""

    status: int
    body: bytes = b""
    etag: str | None = None
    close: bool = False


Handler = Callable[[Request], Awaitable[Answer]]


@dataclass(eq=False)
class Server:
    """Serves on sockets that somebody else binds. ``context``: see :func:`tls`."""

    context: ssl.SSLContext
    handler: Handler
    _listeners: dict[str, asyncio.Server] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _peers: Counter[bytes] = field(default_factory=Counter)

    @property
    def places(self) -> frozenset[str]:
        """Where it listens."""
        return frozenset(self._listeners)

    async def listen(self, place: str, listener: socket.socket) -> None:
        """One more place. Takes the socket over."""
        self._listeners[place] = await asyncio.start_server(
            self._connected, sock=listener, ssl=self.context, limit=CHUNK, backlog=BACKLOG,
            ssl_handshake_timeout=HANDSHAKE_S, ssl_shutdown_timeout=1.0,
        )  # fmt: skip

    def leave(self, place: str) -> None:
        """Listen there no more; connections end by themselves."""
        self._listeners.pop(place).close()

    async def close(self) -> None:
        """End everything."""
        for place in list(self._listeners):
            self.leave(place)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        secured = writer.get_extra_info("ssl_object")
        peer = (secured.getpeercert(binary_form=True) if secured is not None else None) or b""
        self._peers[peer] += 1
        try:
            if peer and self._peers[peer] <= EACH_MAX and self._peers.total() <= ALL_MAX:
                await self._talk(peer, reader, writer)
        except (OSError, TimeoutError, h11.ProtocolError, EOFError) as error:
            _log.debug("a connection ended: %s", error)
        finally:
            if task is not None:
                self._tasks.discard(task)
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]
            await _end(writer)

    async def _talk(self, peer: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX)
        while True:
            try:
                request = await self._request(connection, peer, reader)
            except h11.RemoteProtocolError as error:
                if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                    await _send(connection, writer, Answer(error.error_status_hint, close=True))
                return
            if request is None:
                return
            await _send(connection, writer, await self.handler(request))
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _request(self, connection: h11.Connection, peer: bytes, reader: asyncio.StreamReader) -> Request | None:
        """None: the other end has gone, or says nothing."""
        head, body, patience = None, bytearray(), IDLE_S
        until: float | None = None
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                now = asyncio.get_running_loop().time()
                if until is not None:
                    patience = max(0.0, until - now)
                async with asyncio.timeout(patience):
                    data = await reader.read(CHUNK)
                if not data and head is None and until is None:
                    return None
                until = until if until is not None else now + REQUEST_S
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > BODY_MAX:
                    msg = "the body is too large"
                    raise h11.RemoteProtocolError(msg, error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _read(head, bytes(body), peer)
            else:  # ConnectionClosed, PAUSED
                return None


def _read(head: h11.Request, body: bytes, peer: bytes) -> Request:
    try:
        target = urlsplit(head.target.decode("ascii", "replace"))
        query = dict(parse_qsl(target.query, max_num_fields=20))
    except ValueError as error:
        msg = "no such address"
        raise h11.RemoteProtocolError(msg, error_status_hint=400) from error
    headers = dict(head.headers)
    etag = headers.get(b"if-none-match")
    return Request(
        head.method.decode("ascii", "replace"),
        target.path,
        query,
        None if etag is None else etag.decode("ascii", "replace").strip('"'),
        body,
        peer,
    )


async def _send(connection: h11.Connection, writer: asyncio.StreamWriter, answer: Answer) -> None:
    headers = [
        ("content-length", str(len(answer.body))),
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
    ]
    if answer.etag is not None:
        headers.append(("etag", f'"{answer.etag}"'))
    if answer.close:
        headers.append(("connection", "close"))
    if answer.status == 304:
        headers = headers[1:]
    writer.write(connection.send(h11.Response(status_code=answer.status, headers=headers)) or b"")
    if answer.body and answer.status != 304:
        writer.write(connection.send(h11.Data(data=answer.body)) or b"")
    writer.write(connection.send(h11.EndOfMessage()) or b"")
    async with asyncio.timeout(SEND_S):
        await writer.drain()


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        async with asyncio.timeout(2):
            await writer.wait_closed()
    except (OSError, TimeoutError):
        writer.transport.abort()
    except asyncio.CancelledError:
        writer.transport.abort()
        raise


def tls(root: str, own: str) -> ssl.SSLContext:
    """Both ends by certificates of one authority: TLS 1.3, ours shown, theirs required and for clients.

    :param root: file with the root's certificate; ``own``: file with our key and chain.
    :raises OSError: one can't be read (ssl.SSLError among them).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # every connection shows its certificate
    context.load_verify_locations(root)
    context.load_cert_chain(own)
    with contextlib.suppress(NotImplementedError):
        context.set_alpn_protocols(["http/1.1"])
    return context
