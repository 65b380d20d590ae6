"""The gate's front: speaks TLS and HTTP with strangers, and has no rights of its own.

It is started by :mod:`.gate`, confined, with two descriptors: the listening socket, and a socket pair to the service. From there comes first its
identity, one line; then it asks there, one line for each request, and is answered by one line each. What it doesn't understand it doesn't
pass on.

* Every refusal is the same: status, body, and :data:`REFUSED_S` after the request came in, whatever took how long.
* :data:`PER_SECOND` requests a second are passed on from all the world, :data:`PER_SOURCE` in a minute from one address (/64 in IPv6);
  :data:`CONNECTIONS` connections at a time, :data:`PER_SOURCE_AT_ONCE` from one address. Who comes above that is let go.
* A connection ends after :data:`~.wire.TALK_S` seconds, a handshake after ten; nothing larger than :data:`~.wire.REQUEST_MAX` is read.
* The service is gone: the front ends, and the next one is started with the next service.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import json
import os
import socket
import ssl
from collections import OrderedDict, deque
from typing import Final

from appliance.core.errors import CorruptError
from appliance.vpn.enrolment.wire import ANSWER_MAX, AUTHORITY, ENROL, REQUEST_MAX, TALK_S, Authority, Request

REFUSED_S: Final = 1.0
PER_SECOND: Final = 10
PER_SOURCE: Final = 10
SOURCE_S: Final = 60.0
SOURCES_MAX: Final = 10_000
CONNECTIONS: Final = 64
PER_SOURCE_AT_ONCE: Final = 8
HANDSHAKE_S: Final = 10.0
HEAD_MAX: Final = 8 * 1024
BACKLOG: Final = 128
LINE_MAX: Final = 2 * ANSWER_MAX


class Link:
    """The line to the service: one question at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._turn = asyncio.Lock()
        self._said: asyncio.Queue[bytes] = asyncio.Queue()

    async def ask(self, request: Request) -> tuple[int, bytes]:
        """Status and body. The service answers in the order that it is asked."""
        async with self._turn:
            self._writer.write(base64.b64encode(request.body()) + b"\n")
            await self._writer.drain()
            plain = json.loads(await self._said.get())
            return int(plain["status"]), base64.b64decode(plain["body"])

    async def listen(self) -> None:
        """Take what the service says, until it is gone."""
        while (line := await self._reader.readline()).endswith(b"\n"):
            self._said.put_nowait(line)


class Front:
    """See this module."""

    def __init__(self, link: Link, authority: Authority) -> None:
        self._link, self._authority = link, authority.body()
        self._there: dict[str, int] = {}
        self._asked: OrderedDict[str, deque[float]] = OrderedDict()
        self._lately: deque[float] = deque()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its handshake to its end."""
        source = _source(writer)
        if self._there.get(source, 0) >= PER_SOURCE_AT_ONCE or sum(self._there.values()) >= CONNECTIONS:
            writer.close()
            return
        self._there[source] = self._there.get(source, 0) + 1
        try:
            with contextlib.suppress(
                TimeoutError, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
            ):
                async with asyncio.timeout(TALK_S):
                    while await self._one(source, reader, writer):
                        pass
        finally:
            self._there[source] -= 1
            if not self._there[source]:
                del self._there[source]
            writer.close()

    async def _one(self, source: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether another may come."""
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("ascii").split("\r\n")
        length = _length(fields)
        match line.split(" "):
            case ["GET", path, "HTTP/1.1"] if path == AUTHORITY and length == 0:
                await _send(writer, 200, self._authority)
                return True
            case ["POST", path, "HTTP/1.1"] if path == ENROL and 0 < length <= REQUEST_MAX:
                came = asyncio.get_running_loop().time()
                status, body = await self._enrol(source, await reader.readexactly(length))
                if status != 200:
                    await asyncio.sleep(came + REFUSED_S - asyncio.get_running_loop().time())
                await _send(writer, status, body)
            case _:
                await _send(writer, 400, b"")
        return False

    async def _enrol(self, source: str, body: bytes) -> tuple[int, bytes]:
        try:
            request = Request.read(body)
        except CorruptError:
            return 400, b""
        if not self._may(source, asyncio.get_running_loop().time()):
            return 429, b""
        return await self._link.ask(request)

    def _may(self, source: str, now: float) -> bool:
        mine = self._asked.setdefault(source, deque())
        self._asked.move_to_end(source)
        while len(self._asked) > SOURCES_MAX:
            self._asked.popitem(last=False)
        for asked, window in ((mine, SOURCE_S), (self._lately, 1.0)):
            while asked and asked[0] <= now - window:
                asked.popleft()
        if len(mine) >= PER_SOURCE or len(self._lately) >= PER_SECOND:
            return False
        mine.append(now)
        self._lately.append(now)
        return True


async def serve(listening: int, link: int) -> None:
    """Until the service is gone. Descriptors of a listening TCP socket and of a connected Unix socket."""
    reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=link), limit=LINE_MAX)
    identity = json.loads(await reader.readline())
    chain, root, key = (str(identity[name]).encode() for name in ("chain", "root", "key"))
    line = Link(reader, writer)
    front = Front(line, Authority(root, chain))
    server = await asyncio.start_server(
        front.talk,
        sock=socket.socket(fileno=listening),
        ssl=tls(chain, key),
        ssl_handshake_timeout=HANDSHAKE_S,
        ssl_shutdown_timeout=1.0,
        limit=HEAD_MAX,
        backlog=BACKLOG,
    )
    writer.write(b"\n")  # it listens
    async with server:
        await line.listen()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()  # who is being served can't be any more
    writer.close()


def tls(chain: bytes, key: bytes) -> ssl.SSLContext:
    """TLS 1.3 alone: both ends are ours. The key is in memory only: Python reads it from a file that is nowhere."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.num_tickets = 0
    with os.fdopen(os.memfd_create("identity"), "wb") as file:
        file.write(chain + key)
        file.flush()
        made.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return made


def _source(writer: asyncio.StreamWriter) -> str:
    """Whom a connection is counted for: an IPv4 address, or a /64."""
    peer = writer.get_extra_info("peername") or ("::",)
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address), 64), strict=False))


def _length(fields: list[str]) -> int:
    """Of the body. :raises ValueError: said twice, in another way, or no number."""
    found = 0
    for field in fields:
        name, _, value = field.partition(":")
        if name.lower() == "transfer-encoding" or (name.lower() == "content-length" and found):
            raise ValueError
        if name.lower() == "content-length":
            text = value.strip()
            found = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else -1
            if found < 0:
                raise ValueError
    return found


async def _send(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    head = f"HTTP/1.1 {status} \r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nCache-Control: no-store\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
