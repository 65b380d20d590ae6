"""STAMP's packets in authenticated mode (RFC 8762 sections 4.2.2 and 4.3.2), with a session's number and padding (RFC 8972 sections 3 and 4.1).

Times are 64 bits of NTP, in nanoseconds here. The two ends' clocks needn't agree: only differences of the same pair of clocks are used.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Final, NamedTuple

SIZE: Final = 112
"""Octets of either packet without padding."""
KEY: Final = 32
MAC: Final = 16
"""HMAC-SHA-256, its first 16 octets, over the six blocks before it (RFC 8762 section 4.4)."""
SIGNED: Final = 96
PADDING: Final = 1
"""Type of the TLV that only fills (RFC 8972 section 4.1)."""
UNSYNCHRONIZED: Final = 0x0001
"""Error estimate: no clock is claimed to be right, multiplier 1 (RFC 4656 section 4.1.2: 0 is not allowed)."""

_PROBE: Final = struct.Struct("!I12xQHH68x")
_ANSWER: Final = struct.Struct("!I12xQHH4xQ8xI12xQH6xB15x")
_TLV: Final = struct.Struct("!BBH")
_MILLIARD: Final = 1_000_000_000


class Probe(NamedTuple):
    """A sender's packet. :param number: from 0 on; :param sent: ns; :param session: 1 to 65535."""

    number: int
    sent: int
    session: int


class Answer(NamedTuple):
    """A reflector's. :param number: of its answers, from 0 on: one more for each probe that came. :param received: when the probe came, :param sent: when this went, ns of the reflector's clock.
    :param probe: the sender's packet that it answers.
    """

    number: int
    received: int
    sent: int
    probe: Probe


class ForeignError(ValueError):
    """It is no packet of this session's."""


def session_of(datagram: bytes) -> int:
    """The session that a probe names, before anything of it is believed. :raises ForeignError: it is none."""
    if len(datagram) < SIZE:
        raise ForeignError
    return int.from_bytes(datagram[26:28])


def probe(key: bytes, made: Probe, octets: int = SIZE) -> bytes:
    """A sender's packet, of so many octets."""
    head = _PROBE.pack(made.number, _ntp(made.sent), UNSYNCHRONIZED, made.session)
    return head + _mac(key, head) + _padding(octets - SIZE)


def read_probe(key: bytes, datagram: bytes) -> Probe:
    """:raises ForeignError: it isn't signed by this key."""
    _verify(key, datagram)
    number, sent, _error, session = _PROBE.unpack_from(datagram)
    return Probe(number, _ns(sent), session)


def answer(key: bytes, made: Answer, ttl: int, rest: bytes = b"") -> bytes:
    """A reflector's packet. :param ttl: that the probe came with; :param rest: of the probe, behind its MAC: it is sent back, so that both ways carry the same."""
    of = made.probe
    head = _ANSWER.pack(
        made.number, _ntp(made.sent), UNSYNCHRONIZED, of.session, _ntp(made.received), of.number, _ntp(of.sent), UNSYNCHRONIZED, ttl
    )  # fmt: skip
    return head + _mac(key, head) + rest


def read_answer(key: bytes, datagram: bytes) -> Answer:
    """:raises ForeignError: it isn't signed by this key."""
    _verify(key, datagram)
    number, sent, _error, session, received, of, of_sent, _of_error, _ttl = _ANSWER.unpack_from(datagram)
    return Answer(number, _ns(received), _ns(sent), Probe(of, _ns(of_sent), session))


def _mac(key: bytes, head: bytes) -> bytes:
    return hmac.digest(key, head, hashlib.sha256)[:MAC]


def _verify(key: bytes, datagram: bytes) -> None:
    if len(datagram) < SIZE or not hmac.compare_digest(_mac(key, datagram[:SIGNED]), datagram[SIGNED:SIZE]):
        raise ForeignError


def _padding(octets: int) -> bytes:
    if octets < _TLV.size:
        return b""
    return _TLV.pack(0, PADDING, octets - _TLV.size) + bytes(octets - _TLV.size)


def _ntp(ns: int) -> int:
    seconds, rest = divmod(ns, _MILLIARD)
    return (seconds & 0xFFFFFFFF) << 32 | (rest << 32) // _MILLIARD


def _ns(ntp: int) -> int:
    return (ntp >> 32) * _MILLIARD + ((ntp & 0xFFFFFFFF) * _MILLIARD + (1 << 31) >> 32)
