"""What branches measure their way with: a reflector (:mod:`appliance.failover.stamp.reflector`) at the centre's addresses within the tunnels.

Who measures has asked for it over TLS, by its certificate, and was told a session's key: no branch measures for another. Answers are marked EF (RFC 3246), like the voice that they stand for.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, Final, cast

from appliance.failover.stamp.reflector import Reflector, Session

EF: Final = 46 << 2
_TTL: Final = 64
"""What is told as the probe's: asyncio doesn't say which it was, and within the tunnel no router is between."""


def now_ns() -> int:
    """Of a clock that nobody sets."""
    return time.monotonic_ns()


class Measuring(asyncio.DatagramProtocol):
    """One address's socket; all share a ``reflector``."""

    def __init__(self, reflector: Reflector) -> None:
        self._reflector = reflector
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer it, if it is a session's."""
        made = self._reflector.heard(data, _TTL, time.monotonic(), now_ns)
        if made is not None and self._transport is not None:
            self._transport.sendto(made, addr)


def mark(made: socket.socket) -> None:
    """What goes out by it is voice's."""
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, EF)
    else:
        made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, EF)


def told(session: Session) -> dict[str, Any]:
    """How it was, for who has measured."""
    return {"received": session.received, "gap_ms": round(session.gap_ms, 1)}
