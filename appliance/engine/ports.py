"""Who has which port: the kernel's tables of a process's network, and the sockets that a process holds (proc(5))."""

from __future__ import annotations

import ipaddress
import re
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.engine.netns import socket_in

_LISTENING: Final = {"tcp": "0A", "udp": "07"}
"""State of a socket that waits for anybody; a connected one has another."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A socket that takes what anybody sends to ``address`` and ``port``. ``protocol``: ``tcp`` or ``udp``."""

    protocol: str
    address: str
    port: int
    inode: int


def bound_sockets(pid: int | str = "self") -> list[Bound]:
    """All of them in the network namespace of a process."""
    found = []
    for protocol in ("tcp", "udp"):
        for family in ("", "6"):
            table = Path(f"/proc/{pid}/net/{protocol}{family}")
            if table.exists():  # no IPv6 on this machine
                found += list(_read(protocol, table.read_text()))
    return found


def _read(protocol: str, text: str) -> Iterator[Bound]:
    for line in text.splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTENING[protocol]:
            address, port = fields[1].split(":")
            yield Bound(protocol, _address(address), int(port, 16), int(fields[9]))


def _address(text: str) -> str:
    """The kernel writes words of 32 bits in its own byte order."""
    words = [int(text[place : place + 8], 16).to_bytes(4, sys.byteorder) for place in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def sockets_of(pid: int) -> set[int]:
    """Inodes of the sockets that a process holds. Raises PermissionError: it is another user's."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
        if match := re.fullmatch(r"socket:\[(\d+)\]", target):
            found.add(int(match[1]))
    return found


def is_ours(address: str, namespace: str | None = None) -> bool:
    """Whether this machine has the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket_in(namespace, family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
