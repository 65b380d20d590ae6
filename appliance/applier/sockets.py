"""Where the engine really listens, as the kernel says: a transport that it took in isn't one that it could open.

The engine keeps a transport object whose port is taken by another program, and goes on listening at one that is
gone from its files. Neither shows when objects are read back.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from appliance.applier.expect import Mismatch
from appliance.applier.plan import PJSIP, TRANSPORT, Files, text_of
from appliance.core.asterisk import ConfFile
from appliance.engine.netns import socket_in

CONNECT_S: Final = 3.0
_PEER: Final = struct.Struct("3i")
_LISTENS: Final = {"tcp": "0A", "udp": "07"}
"""State of a socket that takes what comes, in the kernel's tables."""
_TABLES: Final = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}


class Place(NamedTuple):
    """Where something listens: ``tcp`` or ``udp``, an address without brackets, a port."""

    protocol: str
    address: str
    port: int

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.protocol} {address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Doors:
    """``closed``: place → listener that isn't open; ``strays``: where the engine listens and no listener says so."""

    closed: Mapping[Place, str]
    strays: tuple[Place, ...]

    @property
    def mismatches(self) -> list[Mismatch]:
        """The same as differences of the engine."""
        closed = [
            Mismatch(f"listener/{id}/port", "", "", f"{place} can't be opened: does another program hold it?")
            for place, id in self.closed.items()
        ]
        return closed + [
            Mismatch("the engine", "", "", f"still listens at {place}: restart it") for place in self.strays
        ]


def hindrance(place: Place, namespace: str | None) -> str:
    """Why nobody could listen at a place now: what the kernel says; empty: nothing."""
    family = socket.AF_INET6 if ":" in place.address else socket.AF_INET
    kind = socket.SOCK_STREAM if place.protocol == "tcp" else socket.SOCK_DGRAM
    with socket_in(namespace, family, kind) as probe:
        if kind == socket.SOCK_STREAM:  # as the engine does: connections that have ended don't count
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((place.address, place.port))
            if kind == socket.SOCK_STREAM:
                probe.listen()
        except OSError as error:
            return error.strerror or str(error)
    return ""


def wanted(files: Files) -> dict[Place, str]:
    """Place → id of the listener, of every listener that the engine's files have."""
    file = files.get(PJSIP)
    if not isinstance(file, ConfFile):
        return {}
    found = {}
    for section in file.sections:
        if section.type == TRANSPORT:
            host, _, port = (section.get("bind") or "").rpartition(":")
            protocol = "udp" if section.get("protocol") == "udp" else "tcp"
            found[Place(protocol, str(ipaddress.ip_address(host.strip("[]"))), int(port))] = section.name
            if section.get("protocol") == "wss":
                found |= dict.fromkeys(_for_the_gate(files), section.name)
    return found


def _for_the_gate(files: Files) -> Iterator[Place]:
    """Where the web server takes what comes by the gate."""
    text = text_of(files.get("http.conf", ""))
    said = dict(re.findall(r"^(enabled|bindaddr|bindport)\s*=\s*(\S+)", text, re.MULTILINE))
    if said.get("enabled") == "yes":
        yield Place("tcp", said["bindaddr"], int(said["bindport"]))


def process_behind(control_socket: Path) -> int | None:
    """Process id of the engine that listens at its control socket; None: nobody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(CONNECT_S)
        try:
            connection.connect(str(control_socket))
            pid = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
        except OSError:
            return None
    return int(pid) or None


def listening(pid: int) -> frozenset[Place] | None:
    """Everywhere that a process listens; None: we may not know."""
    mine = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                mine.add(link.readlink().name)
    except OSError:
        return None
    return frozenset(place for inode, place in _table(pid) if f"socket:[{inode}]" in mine)


def _table(pid: int) -> Iterator[tuple[str, Place]]:
    """(inode, place) of every listening socket in a process's network namespace."""
    for protocol, names in _TABLES.items():
        for name in names:
            try:
                lines = Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
            except OSError:
                continue
            for fields in map(str.split, lines):
                if fields[3] == _LISTENS[protocol]:
                    address, _, port = fields[1].partition(":")
                    yield fields[9], Place(protocol, _address(address), int(port, 16))


def _address(text: str) -> str:
    """An address as the kernel's tables write it: words of four bytes, each in the machine's order."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    return str(ipaddress.ip_address(b"".join(struct.pack("=I", word) for word in words)))


def media(files: Files) -> list[range]:
    """UDP ports of calls."""
    found = []
    for name, first, last in (("rtp.conf", "rtpstart", "rtpend"), ("udptl.conf", "udptlstart", "udptlend")):
        file = files.get(name, "")
        text = file if isinstance(file, str) else file.text
        ports = [re.search(rf"^{option}\s*=>?\s*(\d+)", text, re.MULTILINE) for option in (first, last)]
        if ports[0] and ports[1]:
            found.append(range(int(ports[0][1]), int(ports[1][1]) + 2))  # RTCP may go one beyond
    return found


def strays(held: frozenset[Place], files: Files, manager_port: int) -> list[Place]:
    """Places at which a listener must have been that no file has any more. UDP ports of calls, and those that the kernel
    gives out by itself (to a resolver, say), don't count."""
    ports = (*media(files), _given_out())
    return sorted(
        place
        for place in held - wanted(files).keys() - {Place("tcp", "127.0.0.1", manager_port)}
        if place.protocol == "tcp" or not any(place.port in some for some in ports)
    )


def _given_out() -> range:
    try:
        first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    except (OSError, ValueError):
        return range(32768, 61000)
    return range(int(first), int(last) + 1)
