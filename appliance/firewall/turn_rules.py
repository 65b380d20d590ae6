"""Rules for the TURN server: what its relays may send, and how much it is asked by those who have no relay (pure).

A sender of UDP can be invented, and the TURN server answers whoever asks: with a challenge (401) of up to 2.3 times the question's bytes, and
it keeps 16 kB for a while for each address and port that has sent it anything. So two limits hold for packets from those who
have no relay: by source, so that nobody can be flooded with answers, and together, so that its memory lasts. Who has a relay is known by
the TURN server's own answers as they leave: only right credentials get those, and a nonce that came to this very address. What calls
send passes freely, also while everything else is flooded. See docs/decisions/0048-floods-at-the-turn-server.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.firewall.promise import Relays
from appliance.turn.addresses import GATE_PORT, TURN_UID

LIMITS: Final = "turn-limits"
"""The chain that packets to the TURN server go through."""
OF_ONE: Final = (100, 500)
"""Packets of one source without a relay: a second, and at once. A call takes four to ten to get its relays; a provider's NAT may stand
before many browsers, and what is dropped is sent again after half a second (RFC 8489 section 6.2.1)."""
OF_ALL: Final = (500, 2000)
"""The same of all sources together."""
KNOWN_S: Final = 600
"""Somebody is known for so long after the last answer: browsers refresh permissions every five minutes (RFC 8656 section 9)."""
_ANSWERS: Final = (0x0017, 0x0103, 0x0104, 0x0108, 0x0109)
"""Data for a client; success of Allocate, Refresh, CreatePermission, ChannelBind (RFC 8656 section 17)."""
_CHANNEL_DATA: Final = 1
"""The first two bits of data in a channel (RFC 8656 section 12)."""
_FAMILIES: Final = ((4, "ip"), (6, "ip6"))
_SIZE: Final = 65535


def sets() -> Iterator[str]:
    """What the kernel keeps of sources."""
    for family, _ in _FAMILIES:
        yield f"set turn-known-{family} {{"
        yield f"type ipv{family}_addr . inet_service; size {_SIZE}; flags dynamic,timeout; timeout {KNOWN_S}s;"
        yield "}"
        yield f"set turn-rate-{family} {{"
        yield f"type ipv{family}_addr; size {_SIZE}; flags dynamic,timeout; timeout 1m;"
        yield "}"


def chains(relays: Relays) -> Iterator[str]:
    """The limits, and what leaves."""
    yield f"chain {LIMITS} {{"
    for family, ip in _FAMILIES:
        yield f"{ip} saddr . udp sport @turn-known-{family} return"
    rate, burst = OF_ONE
    for family, ip in _FAMILIES:
        over = f"{{ {ip} saddr limit rate over {rate}/second burst {burst} packets }}"
        yield f"update @turn-rate-{family} {over} counter name turn-flood drop"
    rate, burst = OF_ALL
    yield f"limit rate over {rate}/second burst {burst} packets counter name turn-flood drop"
    yield "}"
    yield "chain from-relays {"
    yield from _known(relays.port)
    yield f"udp sport {relays.port} accept"
    yield f'oif "lo" tcp sport {GATE_PORT} accept'
    if relays.peers:
        ports = f"{relays.media[0]}-{relays.media[1]}"
        yield f"ip daddr {{ {', '.join(relays.peers)} }} udp dport {ports} accept"
    yield "counter name relayed-elsewhere drop"
    yield "}"
    yield "chain relays-out {"
    yield "type filter hook output priority filter; policy accept;"
    yield f"meta skuid {TURN_UID} jump from-relays"
    yield "}"


def _known(port: int) -> Iterator[str]:
    """Also by voice itself: after the rules were loaded anew, whoever telephones is known again with the next packet."""
    answers = ", ".join(f"0x{each:04x}" for each in _ANSWERS)
    for of_relay in (f"@th,64,16 {{ {answers} }}", f"@th,64,2 {_CHANNEL_DATA}"):
        for family, ip in _FAMILIES:
            yield f"udp sport {port} {of_relay} update @turn-known-{family} {{ {ip} daddr . udp dport }}"
