"""How the engine learns who is at the other end of the gate (pure).

Browsers' SIP comes to the engine by the gate, so all of it would come from the loopback: whoever guesses passwords would be nobody. Asterisk
knows neither the PROXY protocol nor ``X-Forwarded-For`` (22.10, ``res_pjsip_transport_websocket.c``: the address is the
socket's). So the gate connects *from* an address that stands for the client's: the same with its first bit turned, IPv4 as
``::ffff:a.b.c.d`` (RFC 4291 section 2.5.5.2).

==================  ========================
client              stand-in
==================  ========================
198.51.100.7        8000::ffff:c633:6407
2001:db8::7         a001:db8::7
fd00::7             7d00::7
fe80::7             7e80::7
==================  ========================

No network has such addresses: IANA gives none out but of 2000::/3. Where the firewall is ours, the kernel takes those of
:data:`ROUTES` for its own, on the loopback alone, so the gate may use them without any right (IP_FREEBIND), and answers come
back to it. Nothing is remembered on either side: whoever reads an address of the engine's turns the bit back.
"""

from __future__ import annotations

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

HOST: Final = "::1"
PORT: Final = 8088
"""Where the engine takes browsers' SIP from the gate: HTTP, this machine only."""
ROUTES: Final = ("8000::ffff:0:0/96", "a000::/3", "7c00::/7", "7e80::/10")
"""All stand-ins. The kernel's own on the loopback; from a wire, and to one, they can't be."""
_BIT: Final = 1 << 127
_NETWORKS: Final = tuple(ipaddress.IPv6Network(each) for each in ROUTES)


def stand_in(client: Address) -> ipaddress.IPv6Address:
    """The address that stands for a client's; of the loopback itself, ``::1``, that address.

    :raises ValueError: it is of no kind that a client can have.
    """
    if client == ipaddress.IPv6Address(HOST):
        return ipaddress.IPv6Address(HOST)
    whole = int(client) if client.version == 6 else 0xFFFF << 32 | int(client)
    found = ipaddress.IPv6Address(whole ^ _BIT)
    if not any(found in each for each in _NETWORKS):
        raise ValueError(str(client))
    return found


def client(address: Address) -> Address:
    """Whom an address that the engine tells stands for: itself, if it stands for nobody."""
    if address.version == 4 or not any(address in each for each in _NETWORKS):
        return address
    found = ipaddress.IPv6Address(int(address) ^ _BIT)
    return found.ipv4_mapped or found
