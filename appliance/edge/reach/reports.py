"""What routers and the kernel report of a packet that didn't arrive, as a socket's error queue tells it (ip(7), ``IP_RECVERR``; pure).

``struct sock_extended_err`` and after it the address of who reports: RFC 792 and RFC 1191 for IPv4, RFC 4443 for IPv6.
"""

from __future__ import annotations

import errno
import ipaddress
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from appliance.i18n import later

ERROR4: Final = (0, 11)
"""``SOL_IP``, ``IP_RECVERR``."""
ERROR6: Final = (41, 25)
"""``SOL_IPV6``, ``IPV6_RECVERR``."""
_HEAD: Final = struct.Struct("=IBBBBII")
_LOCAL, _ICMP4, _ICMP6 = 1, 2, 3
_INET, _INET6 = 2, 10
_UNREACHABLE4, _EXCEEDED4, _UNREACHABLE6, _TOO_LARGE6, _EXCEEDED6 = 3, 11, 1, 2, 3
_PORT4, _TOO_LARGE4, _PORT6 = 3, 4, 4
MTU_LEAST: Final = 68
"""Octets that every IPv4 link carries in one piece (RFC 791): less is a lie."""

_NETWORK: Final = later("it knows no way there")
_ABSENT: Final = later("nobody answers at that address")
_FORBIDDEN: Final = later("it is forbidden to go there")
_REFUSED: Final = later("it can't be reached")
_WHY4: Final = {
    0: _NETWORK, 1: _ABSENT, 6: _NETWORK, 7: _ABSENT, 9: _FORBIDDEN, 10: _FORBIDDEN, 11: _NETWORK, 12: _ABSENT, 13: _FORBIDDEN,
}  # fmt: skip
_WHY6: Final = {0: _NETWORK, 1: _FORBIDDEN, 3: _ABSENT, 5: _FORBIDDEN, 6: _FORBIDDEN}


class Kind(Enum):
    """What became of the packet."""

    PASSED = "passed"
    """It came as far as its hop limit let it."""
    ARRIVED = "arrived"
    """At the host, where nothing listens at that port."""
    TOO_LARGE = "too_large"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Report:
    """``by``: who reports, empty: this machine; ``mtu``: octets of the largest packet that goes on, None: it isn't about that."""

    kind: Kind
    by: str
    mtu: int | None = None
    reason: str = ""
    number: int = 0
    """``errno`` that the kernel makes of it."""

    @property
    def words(self) -> str:
        """For people; empty: nothing is wrong."""
        if self.kind is not Kind.UNREACHABLE:
            return ""
        message = f"{self.by} says: {self.reason}"
        return message if self.by else self.reason


def report_in(beside: Iterable[tuple[int, int, bytes]]) -> Report | None:
    """The report among what came beside a message (``recvmsg``); None: there is none that can be read."""
    for level, type, value in beside:
        if (level, type) in (ERROR4, ERROR6):
            return report_of(value)
    return None


def report_of(value: bytes) -> Report | None:
    """One report. None: it is too short, or of an origin that isn't known."""
    if len(value) < _HEAD.size:
        return None
    number, origin, type, code, _pad, information, _data = _HEAD.unpack_from(value)
    by = _sender(value[_HEAD.size :])
    if origin == _LOCAL:
        if number == errno.EMSGSIZE:
            return Report(Kind.TOO_LARGE, "", _size(information), number=number)
        return Report(Kind.UNREACHABLE, "", reason=_ABSENT if number == errno.EHOSTUNREACH else _REFUSED, number=number)
    if origin not in (_ICMP4, _ICMP6) or not by:
        return None
    return _of_router(origin == _ICMP6, type, code, by, information, number)


def _of_router(six: bool, type: int, code: int, by: str, information: int, number: int) -> Report:
    if type == (_EXCEEDED6 if six else _EXCEEDED4):
        return Report(Kind.PASSED, by, number=number)
    if (six and type == _TOO_LARGE6) or (not six and (type, code) == (_UNREACHABLE4, _TOO_LARGE4)):
        return Report(Kind.TOO_LARGE, by, _size(information), number=number)
    if type != (_UNREACHABLE6 if six else _UNREACHABLE4):
        return Report(Kind.UNREACHABLE, by, reason=_REFUSED, number=number)
    if code == (_PORT6 if six else _PORT4):
        return Report(Kind.ARRIVED, by, number=number)
    return Report(Kind.UNREACHABLE, by, reason=(_WHY6 if six else _WHY4).get(code, _REFUSED), number=number)


def _size(information: int) -> int | None:
    """Octets; None: an old router that doesn't tell, or a lie."""
    return information if MTU_LEAST <= information <= 65535 else None


def _sender(data: bytes) -> str:
    """Of a ``sockaddr_in`` or ``sockaddr_in6``; empty: neither."""
    if len(data) < 8:
        return ""
    family = int.from_bytes(data[:2], sys.byteorder)
    if family == _INET:
        return str(ipaddress.IPv4Address(data[4:8]))
    if family == _INET6 and len(data) >= 24:
        return str(ipaddress.IPv6Address(data[8:24]))
    return ""
