"""Datagrams in batches: up to sixty-four by one call of the kernel (``recvmmsg`` and ``sendmmsg``, Linux), with their marks and the address of ours they came to.

Python's own ``recvmsg`` and ``sendmsg`` take one datagram a call, and make objects of all that the kernel says beside it: twice the CPU of the whole relay.
Addresses are the kernel's own octets (``struct sockaddr``); they are compared and sent back as they came.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

BATCH: Final = 64
ROOM: Final = 2048
"""Octets of the longest datagram."""
_NAME: Final = 32
_CONTROL: Final = 128
_VECTOR: Final = struct.Struct("=QQ")  # iovec: base, length
_HEADER: Final = struct.Struct(
    "=QI4xQQQQi4xI4x"
)  # mmsghdr: name, its length, iovec, how many, control, its length, flags; octets
_CMSG: Final = struct.Struct("=Qii")
_IN: Final = struct.Struct("=H2s4s8x")  # sockaddr_in but for the order of the port
_IN6: Final = struct.Struct("=H2s4s16sI")
_INFO4: Final = struct.Struct("=I4s4s")
_INFO6: Final = struct.Struct("=16sI")
_INT: Final = struct.Struct("=i")
_DONTWAIT: Final = socket.MSG_DONTWAIT
_IPV6_TCLASS: Final = 67
_IPV6_RECVTCLASS: Final = 66
_IPV6_PKTINFO: Final = 50
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PROBE = 10, 23, 3
_IP_RECVTOS: Final = 13
_IP_PKTINFO: Final = 8
_CACHED: Final = 4096

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Came(NamedTuple):
    """A datagram.

    :param address: who sent it; :param local: which of our addresses it came to; :param tos: the octet in its IP header.
    """

    data: bytes
    address: bytes
    local: bytes
    tos: int


class Goes(NamedTuple):
    """A datagram to be sent. Empty ``address``: to where the socket is connected; empty ``local``: from the address that the kernel chooses."""

    data: bytes
    address: bytes = b""
    local: bytes = b""
    tos: int = 0


def sockaddr(host: str, port: int) -> bytes:
    """The octets of an address. :raises ValueError: ``host`` is no address."""
    try:
        return _IN.pack(socket.AF_INET, port.to_bytes(2), socket.inet_pton(socket.AF_INET, host))
    except OSError:
        try:
            return _IN6.pack(socket.AF_INET6, port.to_bytes(2), bytes(4), socket.inet_pton(socket.AF_INET6, host), 0)
        except OSError:
            msg = f"{host} is no address"
            raise ValueError(msg) from None


def host_and_port(address: bytes) -> tuple[str, int]:
    """As people write it."""
    port = int.from_bytes(address[2:4])
    if len(address) < _IN6.size:
        return socket.inet_ntop(socket.AF_INET, address[4:8]), port
    return socket.inet_ntop(socket.AF_INET6, address[8:24]), port


def prepare(made: socket.socket, *, whole: bool) -> None:
    """Have the kernel tell marks and addresses.

    :param whole: never in fragments, whatever the kernel believes of the way: a datagram too long is an error, or lost.
    """
    made.setblocking(False)
    if made.family == socket.AF_INET:
        made.setsockopt(socket.IPPROTO_IP, _IP_RECVTOS, 1)
        made.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        if whole:
            made.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PROBE)
    else:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVTCLASS, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        if whole:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PROBE)


class _Block:
    """Memory for a batch, and the kernel's headers that point into it."""

    def __init__(self) -> None:
        self.data, self.names, self.control = (
            bytearray(BATCH * ROOM),
            bytearray(BATCH * _NAME),
            bytearray(BATCH * _CONTROL),
        )
        self.vectors, self.headers = bytearray(BATCH * _VECTOR.size), bytearray(BATCH * _HEADER.size)
        self.at = {name: _address(getattr(self, name)) for name in ("data", "names", "control", "vectors", "headers")}

    def point(self, index: int, octets: int, name: int, control: int) -> None:
        """One header: lengths of data, address and control."""
        at = self.at
        _VECTOR.pack_into(self.vectors, index * _VECTOR.size, at["data"] + index * ROOM, octets)
        _HEADER.pack_into(
            self.headers, index * _HEADER.size,
            at["names"] + index * _NAME if name else 0, name, at["vectors"] + index * _VECTOR.size, 1,
            at["control"] + index * _CONTROL if control else 0, control, 0, 0,
        )  # fmt: skip


def _address(memory: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


class Receiver:
    """Takes what has come to any number of sockets."""

    def __init__(self) -> None:
        self._block = _Block()
        for index in range(BATCH):
            self._block.point(index, ROOM, _NAME, _CONTROL)
        self._fresh = bytes(self._block.headers)
        self._told: dict[bytes, tuple[bytes, int]] = {}

    def receive(self, descriptor: int) -> list[Came]:
        """Up to :data:`BATCH` datagrams; none: there are none now. An error that the network told of an earlier one is left out.

        :raises OSError: the socket is none any more.
        """
        block = self._block
        number = _libc.recvmmsg(descriptor, ctypes.c_void_p(block.at["headers"]), BATCH, _DONTWAIT, None)
        if number <= 0:
            error = ctypes.get_errno()
            if number < 0 and error in (errno.EBADF, errno.ENOTSOCK):
                raise OSError(error, os.strerror(error))
            return []
        made, view = [], memoryview(block.data)
        for index, header in enumerate(_HEADER.iter_unpack(memoryview(block.headers)[: number * _HEADER.size])):
            _name, name, _vector, _one, _control, control, _flags, octets = header
            local, tos = self._beside(bytes(block.control[index * _CONTROL : index * _CONTROL + control]))
            at = index * ROOM
            made.append(
                Came(
                    bytes(view[at : at + octets]), bytes(block.names[index * _NAME : index * _NAME + name]), local, tos
                )
            )
        block.headers[: number * _HEADER.size] = self._fresh[
            : number * _HEADER.size
        ]  # the kernel wrote lengths into them
        return made

    def _beside(self, control: bytes) -> tuple[bytes, int]:
        """Of what the kernel said beside a datagram, which is nearly always what it said before: our address, and the mark."""
        told = self._told.get(control)
        if told is None:
            if len(self._told) >= _CACHED:
                self._told.clear()
            told = self._told[control] = _read(control)
        return told


def _read(control: bytes) -> tuple[bytes, int]:
    local, tos, at = b"", 0, 0
    while at + _CMSG.size <= len(control):
        length, level, kind = _CMSG.unpack_from(control, at)
        content = control[at + _CMSG.size : at + length]
        if (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS):
            tos = content[0]
        elif (level, kind) == (socket.IPPROTO_IPV6, _IPV6_TCLASS):
            tos = _INT.unpack(content)[0] & 0xFF
        elif (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):
            local = _INFO4.unpack(content)[1]
        elif (level, kind) == (socket.IPPROTO_IPV6, _IPV6_PKTINFO):
            local = content[:16]
        at += (length + 7) & ~7
        if length < _CMSG.size:
            break
    return local, tos


class Sender:
    """Sends by any number of sockets."""

    def __init__(self) -> None:
        self._block = _Block()
        self._beside: Callable[[int, bytes, bool], bytes] = _Cached()
        self.failed: dict[int, int] = {}
        """By errno: datagrams that the kernel didn't take."""

    def send(self, descriptor: int, datagrams: Iterable[Goes], *, six: bool = False) -> None:
        """Send them in order; what the kernel doesn't take now is lost, as on any line, and counted.

        :param six: the socket is of IPv6.
        """
        block, index = self._block, 0
        for each in datagrams:
            beside = self._beside(each.tos, each.local, six)
            block.data[index * ROOM : index * ROOM + len(each.data)] = each.data
            block.names[index * _NAME : index * _NAME + len(each.address)] = each.address
            block.control[index * _CONTROL : index * _CONTROL + len(beside)] = beside
            block.point(index, len(each.data), len(each.address), len(beside))
            index += 1
            if index == BATCH:
                self._go(descriptor, index)
                index = 0
        if index:
            self._go(descriptor, index)

    def _go(self, descriptor: int, number: int) -> None:
        first = 0
        while first < number:
            at = ctypes.c_void_p(self._block.at["headers"] + first * _HEADER.size)
            sent = _libc.sendmmsg(descriptor, at, number - first, _DONTWAIT)
            if sent > 0:
                first += sent
            else:  # the first of them is why; an error that the network told of an earlier one counts too
                error = ctypes.get_errno()
                self.failed[error] = self.failed.get(error, 0) + 1
                first += 1


class _Cached(dict[tuple[int, bytes, bool], bytes]):
    def __call__(self, *about: Any) -> bytes:
        found = self.get(about)
        if found is None:
            if len(self) >= _CACHED:
                self.clear()
            found = self[about] = _beside(*about)
        return found


def _beside(tos: int, local: bytes, six: bool) -> bytes:
    """What the kernel is told beside a datagram."""
    if six:
        made = _cmsg(socket.IPPROTO_IPV6, _IPV6_TCLASS, _INT.pack(tos))
        return made + (_cmsg(socket.IPPROTO_IPV6, _IPV6_PKTINFO, _INFO6.pack(local, 0)) if local else b"")
    made = _cmsg(socket.IPPROTO_IP, socket.IP_TOS, _INT.pack(tos))
    return made + (_cmsg(socket.IPPROTO_IP, _IP_PKTINFO, _INFO4.pack(0, local, bytes(4))) if local else b"")


def _cmsg(level: int, kind: int, content: bytes) -> bytes:
    made = _CMSG.pack(_CMSG.size + len(content), level, kind) + content
    return made.ljust((len(made) + 7) & ~7, b"\0")
