"""What can be read of OpenVPN's packets without its keys (pure; openvpn's ``ssl_pkt.h``)."""

from __future__ import annotations

from typing import Final

OPENINGS: Final = (7, 10)
"""Opcodes of what opens a session: hard resets of clients, version 2 and 3."""
ANSWER: Final = 8
"""Opcode of the server's answer to it."""
DATA: Final = (6, 9)
"""Opcodes of what is in the tunnel, version 1 and 2; all others are control packets."""
SESSION: Final = slice(1, 9)
"""Where the sender's session stands in a control packet."""
_PEER: Final = slice(1, 4)
"""Where a packet in the tunnel, version 2, names its session: by the number that the server gave it, in both directions."""
APART_S: Final = 2.0
"""More than what is on its way of a session that is over can take, over the slowest line."""


def opcode(payload: bytes) -> int:
    """Of a packet; 0, which is nobody's: it is empty."""
    return payload[0] >> 3 if payload else 0


class Apart:
    """Whether OpenVPN's client and its server talk past each other: what each sends names another session than the other's does.

    A client whose renegotiation failed opens another session and goes on sending in the former for up to a minute, which a
    server of one socket would still take. Ours has forgotten it: each session comes to it from a port of its own, and it
    keeps one for each certificate.
    """

    def __init__(self) -> None:
        self._client = b""
        self._since: float | None = None
        """When the server's packets began to be of another session."""
        self._still = False
        """Whether the client has sent in its own since."""

    def sent(self, payload: bytes) -> None:
        """By the client."""
        if opcode(payload) != DATA[1]:
            return
        if payload[_PEER] != self._client:
            self._client, self._since = payload[_PEER], None
        self._still = True

    def heard(self, payload: bytes, now: float) -> bool:
        """By the server: true when it has lasted for :data:`APART_S`; then it begins anew."""
        if opcode(payload) != DATA[1] or not self._client:
            return False
        if payload[_PEER] == self._client:
            self._since = None
        elif self._since is None:
            self._since, self._still = now, False
        elif self._still and now - self._since >= APART_S:
            self._since = None
            return True
        return False
