"""What a packet says of who sent it: addresses, ports, SIP (pure). Anything may be cut off or garbage."""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass
from typing import Final

from appliance.firewall.bans.model import Address

TCP, UDP = 6, 17
_FRAGMENT: Final = 44
_EXTENSIONS: Final = (0, 43, 60)
"""Hop-by-hop options, routing, destination options (RFC 8200 section 4)."""
_SYN_ONLY: Final = 0x02
_SYN_ACK_RST_FIN: Final = 0x17

TOOLS: Final = (
    b"friendly-scanner", b"friendly-request", b"sipvicious", b"sundayddr", b"sip-scan", b"sipscan", b"siparmyknife", b"iwar",
    b"pplsip", b"sipcli",
)  # fmt: skip
"""How tools for attacks name themselves in a User-Agent, or as whom they say they are."""
_REQUEST: Final = re.compile(rb"([A-Z]{3,20}) (?:sips?|tel):[^\r\n]{1,300} SIP/2\.0\r?\n")
_SAYS_WHO: Final = re.compile(rb"^(?:User-Agent|From|f|To|t|Contact|m)[ \t]*:([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_AGENT: Final = re.compile(rb"^User-Agent[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet, from its IP header on. ``opens``: of TCP, that it opens a connection; ``payload``: of UDP."""

    source: Address
    target: Address
    protocol: int
    source_port: int
    port: int
    opens: bool
    payload: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A SIP request (RFC 3261 section 7.1). ``tool``: by its own words it is one for attacks."""

    method: str
    agent: str
    tool: bool


def packet(data: bytes) -> Packet | None:
    """None: neither TCP nor UDP, a later fragment, or nothing that can be read."""
    try:
        version = data[0] >> 4
        if version == 4:
            length = 4 * (data[0] & 0x0F)
            if length < 20 or struct.unpack_from("!H", data, 6)[0] & 0x1FFF:
                return None
            source, target = ipaddress.IPv4Address(data[12:16]), ipaddress.IPv4Address(data[16:20])
            return _above(source, target, data[9], data[length:])
        if version == 6:
            return _six(data)
    except (IndexError, struct.error, ipaddress.AddressValueError):
        pass
    return None


def _six(data: bytes) -> Packet | None:
    source, target = ipaddress.IPv6Address(data[8:24]), ipaddress.IPv6Address(data[24:40])
    kind, rest = data[6], data[40:]
    for _ in range(8):
        if kind in _EXTENSIONS:
            kind, rest = rest[0], rest[8 * (rest[1] + 1) :]
        elif kind == _FRAGMENT:
            if struct.unpack_from("!H", rest, 2)[0] & 0xFFF8:
                return None
            kind, rest = rest[0], rest[8:]
        else:
            return _above(source, target, kind, rest)
    return None


def _above(source: Address, target: Address, protocol: int, data: bytes) -> Packet | None:
    if protocol not in (TCP, UDP):
        return None
    source_port, port = struct.unpack_from("!HH", data)
    opens = protocol == TCP and data[13] & _SYN_ACK_RST_FIN == _SYN_ONLY
    return Packet(source, target, protocol, source_port, port, opens, data[8:] if protocol == UDP else b"")


def request(payload: bytes) -> Request | None:
    """The SIP request that a datagram is; None: it is none."""
    found = _REQUEST.match(payload)
    if found is None:
        return None
    agent = _AGENT.search(payload)
    says = b"\n".join(match[1] for match in _SAYS_WHO.finditer(payload)).lower()
    named = agent[1].decode(errors="replace").strip() if agent is not None else ""
    return Request(found[1].decode(), named, any(tool in says for tool in TOOLS))
