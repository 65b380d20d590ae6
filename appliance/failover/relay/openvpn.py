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


def opcode(payload: bytes) -> int:
    """Of a packet; 0, which is nobody's: it is empty."""
    return payload[0] >> 3 if payload else 0
