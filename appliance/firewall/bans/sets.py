"""Bans as a table of nftables, and the commands that fill its sets.

The table is its own, ``inet centralino-bans``: the rules of the document are loaded without forgetting who is kept out. Its chain comes
before theirs, and before connection tracking; the voice VPN's port passes it whatever the address.

Every ban has one of six lengths of prefix, so there is one *hash* set for each, and a rule looks up the masked address in it. No
interval sets: they refuse an element that overlaps another; with ``auto-merge`` nft 1.0.6 gives the merged range the time-out of one
of its parts (192.0.2.0/24 for 20 minutes and 192.0.3.0/24 for two seconds became 192.0.2.0/23 for two seconds); and it reads a whole
interval set before it adds to it (0.3 s beside 50,000 elements, where a hash set takes 5 ms).

Each set holds one address more, from which no packet can come: while it is there, nobody has emptied the set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from appliance.core.errors import Fault, InvalidError
from appliance.firewall.bans.judge import Wanted
from appliance.firewall.bans.model import Action, Ban, Decision, Network
from appliance.firewall.promise import Promise, Service

TABLE: Final = "centralino-bans"
COUNTERS: Final = {"banned": "From banned addresses", "quarantined": "From quarantined hosts"}
"""Counters of dropped packets, in words for people."""
BEFORE_RAW: Final = -310
"""Priority of the chain: before connection tracking (-200) and before the rules' own first chain (-300)."""
CALL_PACKETS: Final = (1, 60)
"""Calls for help over UDP, and SIP packets over TCP, that a quarantined host may send: a second, and at once. It is enough for one call
with its handshake, and for no scan: what is within TCP can't be seen, and a call for help asks for a password that one may guess at."""
IN_CALLS: Final = ("ACK ", "BYE ", "CANC", "PRAC", "SIP/")
"""First four octets of what belongs to a call that has begun (RFC 3261 section 7)."""
_INVITE: Final = "INVITE sip:"
_NUMBER: Final = re.compile(r"[0-9*#+]{1,15}")
_AT_ONCE: Final = 500
"""Elements in one command: nft answers an error with the whole command."""
_SHORTEST_MS: Final = 100
"""The kernel counts in jiffies of up to 10 ms, and a time-out of none means for ever: better not to come near it."""


@dataclass(frozen=True, slots=True)
class Doors:
    """What bans and quarantine leave open.

    :param tunnels: UDP ports of the voice VPN: no ban closes them, for many share an address behind a provider's NAT.
    :param sip: protocol (``udp``, ``tcp``) and ports, the first and the last, of the SIP listeners.
    :param media: UDP ports of voice, the first and the last.
    :param emergency: numbers that call for help, as they are dialled. A quarantined host may call them over UDP; InvalidError if
        one isn't 1 to 15 digits, ``*``, ``#`` or ``+``.
    """

    tunnels: tuple[int, ...] = ()
    sip: tuple[tuple[str, tuple[int, int]], ...] = ()
    media: tuple[tuple[int, int], ...] = ()
    emergency: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for number in self.emergency:
            if not _NUMBER.fullmatch(number):
                raise InvalidError(
                    [Fault("bans/emergency", f"{number!r} is no number", "1 to 15 digits, *, # or +", "bad_number")]
                )

    @classmethod
    def of(cls, promise: Promise, emergency: Iterable[str] = ()) -> Self:
        """Those of the firewall's promise."""
        openings = promise.openings
        return cls(
            tuple(sorted(set(promise.tunnels))),
            tuple(sorted({(each.protocol, each.ports) for each in openings if each.service is Service.SIP})),
            tuple(sorted({each.ports for each in openings if each.service is Service.MEDIA})),
            tuple(sorted(set(emergency))),
        )

    def sip_ports(self, protocol: str) -> str:
        """As nft writes a set of them; empty if there are none."""
        return ", ".join(_ports(ports) for kind, ports in self.sip if kind == protocol)


@dataclass(frozen=True, slots=True)
class BanSet:
    """One set.

    :param match: what a rule says: ``ip saddr @banned4``.
    :param mark: the address in it that tells that it wasn't emptied.
    """

    name: str
    version: int
    length: int
    match: str
    mark: str
    quarantine: bool = False


SETS: Final = (
    BanSet("banned4", 4, 32, "ip saddr @banned4", "255.255.255.255"),
    BanSet("banned4_wide", 4, 24, "ip saddr & 255.255.255.0 @banned4_wide", "255.255.255.0"),
    BanSet("banned6", 6, 64, "ip6 saddr & ffff:ffff:ffff:ffff:: @banned6", "ff00::"),
    BanSet("banned6_wide", 6, 56, "ip6 saddr & ffff:ffff:ffff:ff00:: @banned6_wide", "ff00::"),
    BanSet("quarantined4", 4, 32, "ip saddr @quarantined4", "255.255.255.255", quarantine=True),
    BanSet("quarantined6", 6, 128, "ip6 saddr @quarantined6", "ff00::", quarantine=True),
)
_BY_LENGTH: Final = {(one.version, one.length, one.quarantine): one for one in SETS}


def set_of(ban: Ban) -> BanSet:
    """The set that a ban stands in. KeyError if no ban is like that."""
    return _BY_LENGTH[ban.network.version, ban.network.prefixlen, ban.quarantine]


def filled(wanted: Wanted, doors: Doors, *, anew: bool = False) -> str:
    """Commands that make the table and have its sets hold exactly what is wanted. One transaction: no packet finds them empty.

    :param anew: take away what is there; else counters go on. A table of another release can't be changed in place.
    """
    lines = [f"delete table inet {TABLE}"] if anew else []
    lines = [f"table inet {TABLE}", *lines, *_table(doors)]
    lines += [f"flush set inet {TABLE} {one.name}" for one in SETS]
    lines += marks()
    elements: dict[str, list[str]] = {}
    for ban in wanted.bans:
        if ban.until > wanted.now:
            elements.setdefault(set_of(ban).name, []).append(_element(ban, wanted.now))
    for name, found in elements.items():
        lines += _commands("add", name, found)
    return _script(lines)


def changed(decisions: Iterable[Decision], now: int) -> str:
    """Commands that carry out decisions: all or none. Empty if there is nothing to do.

    What is added is deleted before, for kernels before 6.13 leave an element's time-out as it is when it is added again; and
    added before that, for one that isn't there can't be deleted.
    """
    last: dict[tuple[str, Network], Decision] = {}
    for decision in decisions:
        if decision.action is not Action.SPARE:
            last[set_of(decision.ban).name, decision.ban.network] = decision
    adds: dict[str, list[str]] = {}
    places: dict[str, list[str]] = {}
    for (name, network), decision in last.items():
        places.setdefault(name, []).append(str(network.network_address))
        if decision.action is not Action.LIFT and decision.ban.until > now:
            adds.setdefault(name, []).append(_element(decision.ban, now))
    lines: list[str] = []
    for name, addresses in places.items():
        lines += _commands("add", name, [f"{address} timeout 1h" for address in addresses])
        lines += _commands("delete", name, addresses)
        lines += _commands("add", name, adds.get(name, []))
    return _script(lines)


def marks(verb: str = "add") -> list[str]:
    """Commands that put the marks in. With ``create`` each is refused while its mark is there."""
    return [f"{verb} element inet {TABLE} {one.name} {{ {one.mark} }}" for one in SETS]


def _table(doors: Doors) -> Iterator[str]:
    """Sets and counters stay if they are there; the chains are written anew."""
    yield f"table inet {TABLE} {{"
    for name in COUNTERS:
        yield f"  counter {name} {{ }}"
    for one in SETS:
        yield f"  set {one.name} {{ type ipv{one.version}_addr; flags timeout; }}"
    for version in (4, 6):
        yield f"  set calls-{version} {{ type ipv{version}_addr; size 4096; flags dynamic,timeout; timeout 2m; }}"
    yield "  chain help { }"
    yield "  chain quarantine { }"
    yield f"  chain bans {{ type filter hook prerouting priority {BEFORE_RAW}; policy accept; }}"
    yield "}"
    yield f"flush chain inet {TABLE} bans"
    yield f"flush chain inet {TABLE} quarantine"
    yield f"flush chain inet {TABLE} help"
    yield f"table inet {TABLE} {{"
    yield "  chain bans {"
    yield '    iif "lo" accept'
    if doors.tunnels:
        yield f"    udp dport {{ {', '.join(map(str, doors.tunnels))} }} accept"
    for one in SETS:
        yield f"    {one.match} {'jump quarantine' if one.quarantine else 'counter name banned drop'}"
    yield "  }"
    yield "  chain help {"
    rate, burst = CALL_PACKETS
    for version, ip in ((4, "ip"), (6, "ip6")):
        over = f"update @calls-{version} {{ {ip} saddr limit rate over {rate}/second burst {burst} packets }}"
        yield f"    {over} counter name quarantined drop"
    yield "    accept"
    yield "  }"
    yield "  chain quarantine {"
    yield from _help(doors)
    yield "    counter name quarantined drop"
    yield "  }"
    yield "}"


def _help(doors: Doors) -> Iterator[str]:
    """What lets a quarantined host call for help, and hear it."""
    yield "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
    if doors.media:
        yield f"    udp dport {{ {', '.join(map(_ports, doors.media))} }} accept"
    udp, tcp = doors.sip_ports("udp"), doors.sip_ports("tcp")
    if udp:
        begun = ", ".join(_hex(text) for text in IN_CALLS)
        yield f"    udp dport {{ {udp} }} @th,64,32 {{ {begun} }} accept"
        for number in doors.emergency:
            called = f"{number}@"
            invite = f"@th,64,{8 * len(_INVITE)} {_hex(_INVITE)}"
            yield f"    udp dport {{ {udp} }} {invite} @th,{64 + 8 * len(_INVITE)},{8 * len(called)} {_hex(called)} goto help"
    if tcp:
        yield f"    tcp dport {{ {tcp} }} goto help"


def _hex(text: str) -> str:
    return f"0x{text.encode().hex()}"


def _ports(ports: tuple[int, int]) -> str:
    first, last = ports
    return str(first) if first == last else f"{first}-{last}"


def _element(ban: Ban, now: int) -> str:
    seconds, ms = divmod(max(_SHORTEST_MS, ban.until - now), 1000)
    return f"{ban.network.network_address} timeout {seconds}s{ms}ms"  # nft takes no number of more than eight digits


def _commands(verb: str, name: str, elements: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(elements), _AT_ONCE):
        yield f"{verb} element inet {TABLE} {name} {{ {', '.join(elements[start : start + _AT_ONCE])} }}"


def _script(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
