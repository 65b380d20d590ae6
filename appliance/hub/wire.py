"""Frames of WebSockets (RFC 6455) straight to a connection's transport.

A server's frames aren't masked, so a frame for a thousand browsers is made once; what is left for each is one write. By
way of Quart and hypercorn the same takes a tenth of a millisecond and several tasks for each browser, which would be
three cores for a busy panel. Opening, pings and closing stay theirs. So this reaches into hypercorn's classes, whose
version is locked; a test of ours fails if they change, and then :func:`transport_of` refuses.
"""

from __future__ import annotations

import asyncio
import struct
from typing import Any, Final

from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream

_TEXT: Final = 0x81
"""FIN and opcode 1: a whole text message."""


def text_frame(payload: bytes) -> bytes:
    """A whole message of UTF-8 text as one frame from the server (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", _TEXT, size) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", _TEXT, 126, size) + payload
    return struct.pack("!BBQ", _TEXT, 127, size) + payload


def _stream(send: Any) -> WSStream:
    stream = getattr(send, "__self__", None)
    if not isinstance(stream, WSStream):
        raise TypeError("this is no WebSocket of hypercorn's")
    return stream


def uncompressed(send: Any) -> None:
    """Take back what the browser offered as extensions, before it is accepted: compression would cost a zlib state and
    its CPU time for each browser, for frames that are the same for all.

    :param send: the ASGI ``send`` of a WebSocket. TypeError: it is none of hypercorn's.
    """
    _stream(send).handshake.extensions = None


def transport_of(send: Any) -> asyncio.WriteTransport:
    """The transport below a WebSocket. TypeError: it isn't HTTP/1.1 of the hypercorn that we know."""
    protocol = getattr(_stream(send).send, "__self__", None)
    if not isinstance(protocol, H11Protocol):
        raise TypeError("WebSockets come over HTTP/1.1 only")
    server = getattr(protocol.send, "__self__", None)
    if not isinstance(server, TCPServer):
        raise TypeError("hypercorn's server isn't the one that we know")
    return server.writer.transport
