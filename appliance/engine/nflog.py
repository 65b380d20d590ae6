"""Packets that rules of nftables log to a group (``log group N``), read from the kernel by netlink: our own small reader.

Messages are those of nfnetlink_log (Linux ``include/uapi/linux/netfilter/nfnetlink_log.h``). pyroute2 0.9 has no reader of
them. Needs CAP_NET_ADMIN in the network namespace that the rules are in.

What doesn't fit into the socket's memory is lost, and told by ``lost``: these are hints, not records.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from appliance.core.errors import UnavailableError
from appliance.engine.netns import socket_in

NETLINK_NETFILTER: Final = 12
MEMORY: Final = 2 * 1024 * 1024
"""Bytes of the socket's memory that we ask for."""
TOGETHER: Final = 32
"""Packets that the kernel sends us at once…"""
WITHIN_CS: Final = 5
"""…or after so many hundredths of a second."""
ANSWER_S: Final = 2.0

_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_GENERIC: Final = struct.Struct("!BBH")  # nfgenmsg: family, version, group
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR, _DONE = 2, 3
_PACKET, _CONFIG = 0x400, 0x401
_REQUEST_ACK: Final = 0x5
_CFG_CMD, _CFG_MODE, _CFG_TIMEOUT, _CFG_THRESHOLD = 1, 2, 4, 5
_BIND, _COPY_PACKET = 1, 2
_PAYLOAD, _PREFIX, _HWTYPE, _HWHEADER = 9, 10, 15, 16
_TYPE_BITS: Final = 0x3FFF
_ETHERNET: Final = 1


@dataclass(frozen=True, slots=True)
class Logged:
    """One packet.

    :param prefix: what the rule calls it.
    :param packet: from its IP header on, cut off at the rule's ``snaplen``.
    :param to_group: it was sent to a group or to everybody on the link; False also where there is no Ethernet.
    """

    prefix: str
    packet: bytes
    to_group: bool = False


class Nflog:
    """One group. Not blocking: for an event loop, with ``fileno``.

    :param copied: bytes of each packet at most; the lesser of this and the rule's ``snaplen`` counts.
    :raises UnavailableError: ``nflog``: the kernel doesn't let us, or somebody else reads this group.
    """

    def __init__(self, group: int, copied: int = 2048, network_namespace: str | None = None) -> None:
        self.lost = 0
        """How often packets were lost because we read too slowly."""
        try:
            self._socket = socket_in(network_namespace, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        except OSError as error:
            raise _refused(error) from error
        try:
            self._socket.bind((0, 0))
            self._socket.settimeout(ANSWER_S)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MEMORY)
            self._configure(group, _CFG_CMD, struct.pack("!B", _BIND))
            self._configure(group, _CFG_MODE, struct.pack("!IBB", copied, _COPY_PACKET, 0))
            self._configure(group, _CFG_TIMEOUT, struct.pack("!I", WITHIN_CS))
            self._configure(group, _CFG_THRESHOLD, struct.pack("!I", TOGETHER))
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise _refused(error) from error

    def fileno(self) -> int:
        """For ``add_reader``."""
        return self._socket.fileno()

    def read(self) -> list[Logged]:
        """What has come; empty: nothing. :raises UnavailableError: ``nflog``: the socket is broken."""
        try:
            return list(parse(self._socket.recv(1 << 17)))
        except BlockingIOError:
            return []
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise _refused(error) from error
            self.lost += 1
            return []

    def close(self) -> None:
        """The kernel forgets the group."""
        self._socket.close()

    def _configure(self, group: int, attribute: int, value: bytes) -> None:
        self._socket.send(configuration(group, attribute, value))
        while True:
            for kind, body in _messages(self._socket.recv(1 << 17)):
                if kind == _ERROR and len(body) >= 4:
                    [number] = struct.unpack_from("=i", body)
                    if number:
                        raise OSError(-number, os.strerror(-number))
                    return


def configuration(group: int, attribute: int, value: bytes) -> bytes:
    """A message that sets one thing of a group, and asks for an answer."""
    padded = value + bytes(-len(value) % 4)
    body = _GENERIC.pack(socket.AF_UNSPEC, 0, group) + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), attribute) + padded
    return _HEADER.pack(_HEADER.size + len(body), _CONFIG, _REQUEST_ACK, 0, 0) + body


def parse(data: bytes) -> Iterator[Logged]:
    """Packets in what one ``recv`` gave. What isn't one, or is cut off, is left out."""
    for kind, body in _messages(data):
        if kind != _PACKET:
            continue
        found = dict(_attributes(body[_GENERIC.size :]))
        if _PAYLOAD in found:
            prefix = found.get(_PREFIX, b"").rstrip(b"\0").decode(errors="replace")
            yield Logged(prefix, found[_PAYLOAD], _is_to_group(found))


def _is_to_group(found: dict[int, bytes]) -> bool:
    header = found.get(_HWHEADER, b"")
    ethernet = found.get(_HWTYPE, b"") == struct.pack("!H", _ETHERNET)
    return ethernet and len(header) >= 12 and bool(header[0] & 1)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _HEADER.size <= len(data):
        length, kind, _flags, _sequence, _port = _HEADER.unpack_from(data, place)
        if length < _HEADER.size or place + length > len(data):
            return
        if kind != _DONE:
            yield kind, data[place + _HEADER.size : place + length]
        place += -(-length // 4) * 4


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, place)
        if length < _ATTRIBUTE.size or place + length > len(data):
            return
        yield kind & _TYPE_BITS, data[place + _ATTRIBUTE.size : place + length]
        place += -(-length // 4) * 4


def _refused(error: OSError) -> UnavailableError:
    return UnavailableError(
        f"packets that the firewall drops can't be read: {error.strerror or error}",
        "it needs CAP_NET_ADMIN, and that no other program reads the same group of nflog",
        error_id="nflog",
    )
