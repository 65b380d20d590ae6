"""A port scanner that knocks once at every port, and a count of what gets in, by the kernel of the host that is scanned.

What a scanner hears tells little of UDP: a port that takes datagrams in silence looks like one that drops them. So arrivals are
counted inside, behind the firewall's own chains (same hook, later priority).
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Final

from tests.hil.agents.network import Host

PORTS: Final = range(1, 65536)
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
        if family == socket.AF_INET6:
            sender.setsockopt(socket.IPPROTO_IPV6, 7, 16)  # IPV6_CHECKSUM (RFC 3542 section 3.1): the kernel's work
        begin = _pseudo_header_sum(source, target) if family == socket.AF_INET else None
        for port in ports:
            sender.sendto(_syn(port, begin), (target, 0))


def _syn(port: int, begin: int | None) -> bytes:
    fields = (40000, port, 1, 0, 5 << 4, 0x02, 65535)
    head = struct.pack("!HHIIBBH", *fields)
    total = 0 if begin is None else begin + sum(struct.unpack("!8H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head + struct.pack("!HH", 0 if begin is None else ~total & 0xFFFF, 0)


def _pseudo_header_sum(source: str, target: str) -> int:
    both = socket.inet_aton(source) + socket.inet_aton(target)
    return sum(struct.unpack("!4H", both)) + socket.IPPROTO_TCP + 20
