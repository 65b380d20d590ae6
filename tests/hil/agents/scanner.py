"""A port scanner that knocks once at every port, a forger of packets, and a count of what gets in, by the kernel of the host that
is scanned.

What a scanner hears tells little of UDP: a port that takes datagrams in silence looks like one that drops them. So arrivals are
counted inside, behind the firewall's own chains (same hook, later priority).
"""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
from functools import lru_cache
from types import TracebackType
from typing import Final, Self

from tests.hil.agents.network import Host

PORTS: Final = range(1, 65536)
SYN: Final = 0x02
Door = tuple[str, int]
"""Protocol and port."""

_PROBE: Final = """
table inet probe {
  set arrived4 { type inet_proto . ipv4_addr . inet_service; size 500000; flags dynamic; }
  set arrived6 { type inet_proto . ipv6_addr . inet_service; size 500000; flags dynamic; }
  chain input {
    type filter hook input priority 100; policy accept;
    meta l4proto { tcp, udp } add @arrived4 { meta l4proto . ip saddr . th dport }
    meta l4proto { tcp, udp } add @arrived6 { meta l4proto . ip6 saddr . th dport }
  }
}
"""


class Arrivals:
    """What gets into a host from now on."""

    def __init__(self, host: Host) -> None:
        self._host = host
        host.run(["nft", _PROBE])

    def of(self, source: str) -> set[Door]:
        """Doors that packets of an address came in by."""
        name = "arrived6" if ":" in source else "arrived4"
        listed = json.loads(self._host.run(["nft", "-j", "list", "set", "inet", "probe", name], timeout_s=30).stdout)
        elements = next(item["set"] for item in listed["nftables"] if "set" in item).get("elem", [])
        found = (item["concat"] for item in elements)
        return {(str(protocol), int(port)) for protocol, address, port in found if address == source}

    def forget(self) -> None:
        """Begin anew."""
        for name in ("arrived4", "arrived6"):
            self._host.run(["nft", "flush", "set", "inet", "probe", name])


def knock(host: Host, source: str, target: str, ports: range = PORTS) -> None:
    """One UDP datagram and one TCP SYN from ``source``, an address of ``host``'s, to each port of ``target``."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with host.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        sender.bind((source, 0))
        for port in ports:
            sender.sendto(b"?", (target, port))
    with host.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as sender:
        sender.bind((source, 0))
        for port in ports:
            sender.sendto(_tcp(source, target, 40000, port, SYN), (target, 0))


class Forger:
    """Sends whatever packets it likes from a host's first leg, of any sender: a context manager."""

    def __init__(self, host: Host, target: Host, leg: str = "eth0") -> None:
        """``leg``: the target's interface in the same LAN."""
        self._head = mac_of(target, leg) + mac_of(host)
        self._wire = host.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._wire.bind(("eth0", 0))

    def udp(self, source: str, target: str, port: int, payload: bytes = b"?") -> None:
        """A datagram. Over IPv4 without a checksum (RFC 768)."""
        head = struct.pack("!HHHH", 40000, port, 8 + len(payload), 0) + payload
        if ":" in source:
            total = _checksum(_pseudo_header(source, target, socket.IPPROTO_UDP, len(head)) + head) or 0xFFFF
            head = head[:6] + struct.pack("!H", total) + head[8:]
        self._send(source, target, socket.IPPROTO_UDP, head)

    def tcp(self, source: str, target: str, port: int, flags: int, source_port: int = 40000) -> None:
        """A segment without data. ``flags``: as in RFC 9293 section 3.1."""
        self._send(source, target, socket.IPPROTO_TCP, _tcp(source, target, source_port, port, flags))

    def _send(self, source: str, target: str, protocol: int, body: bytes) -> None:
        ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
        if ":" in source:
            self._wire.send(
                self._head + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(body), protocol, 64) + ends + body
            )
            return
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + ends
        head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
        self._wire.send(self._head + b"\x08\x00" + head + body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._wire.close()


def mac_of(host: Host, leg: str = "eth0") -> bytes:
    """The hardware address of a host's interface."""
    return bytes.fromhex(host.run(["cat", f"/sys/class/net/{leg}/address"]).stdout.strip().replace(":", ""))


def _tcp(source: str, target: str, source_port: int, port: int, flags: int) -> bytes:
    head = struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 5 << 4, flags, 65535, 0, 0)
    total = _checksum(_pseudo_header(source, target, socket.IPPROTO_TCP, len(head)) + head)
    return head[:16] + struct.pack("!H", total) + head[18:]


@lru_cache(100)
def _pseudo_header(source: str, target: str, protocol: int, length: int) -> bytes:
    """RFC 9293 section 3.1; in the order of RFC 8200 section 8.1, which has the same sum."""
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    return ends + struct.pack("!II", length, protocol)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
