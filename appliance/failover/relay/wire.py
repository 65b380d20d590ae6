"""What the two relays of a site say to each other, octet by octet (pure). Numbers are big-endian.

Three messages open a path; nobody who can't sign them gets an answer, and no answer is longer than what it answers:

* *hello*, from the edge: its key's name, its session's number (*epoch*), a number of its own, and the cookie if it has one;
* *challenge*, from the centre: a cookie that only whoever hears at that address can give back (as RFC 9147 section 5.1 has it);
* *welcome*, from the centre: the path is bound to that address.

After that there are *packets*: OpenVPN's, whole or in pieces, and what the relays tell each other (*talk*). All that is after the header of a packet is
OpenVPN's own, encrypted by it; we hide nothing of ours but sign all of it.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

VERSION: Final = 1
"""In the high half of the first octet. Whatever has another one is for somebody else."""
MAC: Final = 16
"""Octets that sign what opens a path …"""
PACKET_MAC: Final = 8
"""… and a packet. 64 bits: to guess one takes 2**63 packets, each within what the window still takes."""
HELLO: Final = 128
"""Octets of a hello: more than of any answer to it."""
DATAGRAM: Final = 1472
"""Octets of the longest datagram: what Ethernet takes of IPv4 in one piece."""


class Kind(IntEnum):
    """What a datagram is: the low half of its first octet."""

    DATA = 0
    FIRST = 1
    LAST = 2
    TALK = 3
    HELLO = 8
    CHALLENGE = 9
    WELCOME = 10


class Role(IntEnum):
    """What a line is to its branch."""

    PRIMARY = 0
    BACKUP = 1
    METERED = 2


class Copying(IntEnum):
    """When packets are copied."""

    ALWAYS = 0
    CALLS = 1
    DEGRADED = 2
    NEVER = 3


class MalformedError(ValueError):
    """Not what it should be. Never answered, only counted."""


PACKET: Final = struct.Struct("!BBHIQI")
"""Header of a packet: kind, path, time in 0.1 ms (65,536 of them, then from 0), the session's tag, its number, its number on the path."""
AROUND: Final = PACKET.size + PACKET_MAC
"""Octets that a packet is longer for us."""
_HELLO: Final = struct.Struct("!BBBBHQQQ16s")
_CHALLENGE: Final = struct.Struct("!BBQQ16s")
_WELCOME: Final = struct.Struct("!BBQQIQ16s")
_REPORT: Final = struct.Struct("!BBQ")
_ON_PATH: Final = struct.Struct("!BIIHHHHHH")
_REPORT_KIND: Final = 1
_PAD_KIND: Final = 2
_GOT_KIND: Final = 3
PATHS: Final = 16
"""Of one branch, at most."""


def first_octet(kind: Kind) -> int:
    """Version and kind."""
    return VERSION << 4 | kind


def kind_of(datagram: bytes) -> int:
    """Its kind; -1: it is none of ours."""
    return datagram[0] & 15 if datagram and datagram[0] >> 4 == VERSION else -1


@dataclass(frozen=True, slots=True)
class Hello:
    """An edge wants this path.

    :param capped: what its line may carry in a month is used up: only if there is no other.
    :param counter: grows with every hello of the session; the answer bears it.
    :param cookie: what the challenge gave; zeros: none yet.
    """

    path: int
    role: Role
    copying: Copying
    capped: bool
    name: bytes
    epoch: int
    counter: int
    cookie: bytes = bytes(MAC)

    def signed(self, key: bytes) -> bytes:
        """With :attr:`SiteKeys.edge`."""
        octet = self.role | self.copying << 2 | self.capped << 4
        head = _HELLO.pack(
            first_octet(Kind.HELLO), self.path, octet, 0, 0, int.from_bytes(self.name), self.epoch, self.counter,
            self.cookie,
        )  # fmt: skip
        return _signed(head.ljust(HELLO - MAC, b"\0"), key)


def hello_name(datagram: bytes) -> bytes:
    """Whose a hello says that it is. :raises MalformedError: it isn't one."""
    if len(datagram) != HELLO:
        raise MalformedError
    return datagram[6:14]


def hello(datagram: bytes, key: bytes) -> Hello:
    """:raises MalformedError: it isn't one, or not signed with this key."""
    body = _verified(datagram, key, HELLO)
    _kind, path, octet, _, _, name, epoch, counter, cookie = _HELLO.unpack_from(body)
    try:
        role, copying = Role(octet & 3), Copying(octet >> 2 & 3)
    except ValueError:
        raise MalformedError from None
    if path >= PATHS:
        raise MalformedError
    return Hello(path, role, copying, bool(octet & 16), name.to_bytes(8), epoch, counter, cookie)


@dataclass(frozen=True, slots=True)
class Challenge:
    """Say this cookie from the address that you want."""

    path: int
    epoch: int
    counter: int
    cookie: bytes

    def signed(self, key: bytes) -> bytes:
        """With :attr:`SiteKeys.centre`."""
        return _signed(
            _CHALLENGE.pack(first_octet(Kind.CHALLENGE), self.path, self.epoch, self.counter, self.cookie), key
        )


def challenge(datagram: bytes, key: bytes) -> Challenge:
    """:raises MalformedError: it isn't one, or not signed with this key."""
    _kind, path, epoch, counter, cookie = _CHALLENGE.unpack(_verified(datagram, key, _CHALLENGE.size + MAC))
    return Challenge(path, epoch, counter, cookie)


@dataclass(frozen=True, slots=True)
class Welcome:
    """The path is bound.

    :param tag: what packets of this session bear.
    :param generation: another one than before: OpenVPN's server has been started anew.
    :param nonce: the centre's part of the session's keys.
    """

    path: int
    epoch: int
    counter: int
    tag: int
    generation: int
    nonce: bytes

    def signed(self, key: bytes) -> bytes:
        """With :attr:`SiteKeys.centre`."""
        return _signed(
            _WELCOME.pack(
                first_octet(Kind.WELCOME), self.path, self.epoch, self.counter, self.tag, self.generation, self.nonce
            ),
            key,
        )


def welcome(datagram: bytes, key: bytes) -> Welcome:
    """:raises MalformedError: it isn't one, or not signed with this key."""
    _kind, path, epoch, counter, tag, generation, nonce = _WELCOME.unpack(_verified(datagram, key, _WELCOME.size + MAC))
    return Welcome(path, epoch, counter, tag, generation, nonce)


@dataclass(frozen=True, slots=True)
class OnPath:
    """What one end has heard on a path.

    :param highest: largest number on the path, its low 32 bits.
    :param received: how many have come, of the low 32 bits.
    :param jitter: RFC 3550 section 6.4.1, in 0.1 ms.
    :param late: by how much packets come later than the fastest of late, in 0.1 ms.
    :param size: longest datagram of the last seconds.
    :param echo: the time that the last packet bore …
    :param held: … and how long ago it came, in 0.1 ms: round trip times follow.
    :param silent: since anything came, ms.
    """

    path: int
    highest: int
    received: int
    jitter: int
    late: int
    size: int
    echo: int
    held: int
    silent: int


@dataclass(frozen=True, slots=True)
class Report:
    """How one end hears the other, path by path.

    :param copies: it hears badly, and wants copies (:attr:`Copying.DEGRADED`).
    """

    generation: int
    copies: bool
    paths: tuple[OnPath, ...]

    def packed(self) -> bytes:
        """As the content of a talk."""
        return _REPORT.pack(_REPORT_KIND, self.copies, self.generation) + b"".join(
            _ON_PATH.pack(
                each.path, each.highest & 0xFFFFFFFF, each.received & 0xFFFFFFFF,
                *(min(0xFFFF, value) for value in (each.jitter, each.late, each.size)),
                each.echo & 0xFFFF, min(0xFFFF, each.held), min(0xFFFF, each.silent),
            )
            for each in self.paths
        )  # fmt: skip


def report(content: bytes) -> Report | None:
    """Of a talk; None: it is something else. :raises MalformedError: it is neither."""
    if not content:
        raise MalformedError
    if content[0] != _REPORT_KIND:
        return None
    rest = len(content) - _REPORT.size
    if rest < 0 or rest % _ON_PATH.size or rest > PATHS * _ON_PATH.size:
        raise MalformedError
    _kind, copies, generation = _REPORT.unpack_from(content)
    return Report(
        generation, bool(copies), tuple(OnPath(*each) for each in _ON_PATH.iter_unpack(content[_REPORT.size :]))
    )


def padding(datagram: int) -> bytes:
    """Content of a talk that makes a datagram of so many octets: whether one of that size comes through."""
    return bytes((_PAD_KIND,)).ljust(datagram - AROUND, b"\0")


def is_padding(content: bytes) -> bool:
    """Whether a talk is that: it is answered by :func:`got`."""
    return content[:1] == bytes((_PAD_KIND,))


def got(content: bytes) -> bytes:
    """Content of the answer to a padding."""
    return bytes((_GOT_KIND,)) + (len(content) + AROUND).to_bytes(2)


def size_got(content: bytes) -> int | None:
    """Octets of the datagram that an answer is for; None: the talk is no such answer."""
    return int.from_bytes(content[1:3]) if len(content) == 3 and content[0] == _GOT_KIND else None


def cookie(secret: bytes, about: Iterable[bytes]) -> bytes:
    """What the centre need not remember: only it can make it, for one address, path and session."""
    maker = hashlib.blake2b(key=secret, digest_size=MAC)
    for each in about:
        maker.update(len(each).to_bytes(2))
        maker.update(each)
    return maker.digest()


def _signed(body: bytes, key: bytes) -> bytes:
    return body + hashlib.blake2b(body, key=key, digest_size=MAC).digest()


def _verified(datagram: bytes, key: bytes, length: int) -> bytes:
    if len(datagram) != length:
        raise MalformedError
    body = datagram[:-MAC]
    if not hmac.compare_digest(datagram[-MAC:], hashlib.blake2b(body, key=key, digest_size=MAC).digest()):
        raise MalformedError
    return body
