"""Promise → one script of nftables that replaces the whole table ``inet centralino`` in one transaction (pure).

The order is the meaning:

1. *early* (before connection tracking): what can't be true is dropped (martians, addresses of our networks that come in
   elsewhere), as is what a list blocks, but never at the tunnel's port: many share an address behind a provider's NAT, and
   the tunnel knows its branches by their keys. Voice, tunnels and the phones' SIP over UDP are kept out of connection tracking: their
   sources are checked packet by packet, and a flood of them fills no table.
2. *input*: floods of SIP (by source and method) and of pings are cut off, also within known flows; known flows pass; then each group of
   sources is led to its own chain, which holds its openings. Who leaves all chains is logged, counted and dropped.
3. *relays-out*: what the TURN server's relays send to anything but the engine's voice is dropped: it would come from ourselves
   (:mod:`appliance.firewall.turn_rules`).
4. *forward*: branches and the centre's voice networks reach each other, nobody else anybody.

What a source may do in a second (:data:`METHODS` and so on) is far above what any phone does, and far below what hurts.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, Literal

from appliance.engine.stand_ins import ROUTES as STAND_INS
from appliance.firewall import turn_rules as turn
from appliance.firewall.promise import TUNNELS, Opening, Promise, Service, Sources
from appliance.pbx.media.doors import is_any

TABLE: Final = "centralino"
MARTIANS4: Final = ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4")
MARTIANS6: Final = ("::1", "::ffff:0.0.0.0/96", "ff00::/8", *STAND_INS)
"""No packet that comes by a wire can be from there (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5). DHCP has its own sockets."""

METHODS: Final = {"REGISTER": (20, 100), "INVITE": (20, 60), "OPTIONS": (20, 60), "SUBSCRIBE": (50, 200)}
"""SIP method → requests a second, and at once, that one source may send over UDP. Providers may send more."""
SIP_PACKETS: Final = (400, 1000)
"""All SIP packets of one source over UDP: a second, and at once."""
CONNECTS: Final = (50, 200)
"""New TCP connections of one source: a second, and at once."""
CONNECTIONS: Final = 300
"""TCP connections of one source at any time: a provider's NAT may stand before many browsers."""
PINGS: Final = (10, 50)
RESETS: Final = (20, 100)
"""Openings of a tunnel by one source: a second, and at once."""
RESET_OPCODES: Final = (0x38, 0x50)
"""First octet of a packet that opens an OpenVPN session: P_CONTROL_HARD_RESET_CLIENT_V2 and _V3, key 0."""
LOGGED: Final = 100
"""Packets from outside that are told to the judge of bans, a second; the rest is counted only."""
LOG_GROUP: Final = 5
CLOSED: Final = "closed"
LOOKED_AT: Final = "looked-at"
"""What the judge of bans is told: a packet that was dropped, or the first SIP request of a source in a while."""
SNAPLEN: Final = 1024
"""Bytes of a packet that it sees: enough for the headers of SIP that name a tool."""
LOOK_AGAIN: Final = "1m"
ANSWER: Final = "0x5349502f"
"""``SIP/``: how an answer begins (RFC 3261 section 7.2); every phone answers whether it is there."""
GATE: Final = "gate"
"""A set: the TCP port where new edges hand in their requests, while it is open."""
METER_SIZE: Final = 65535

COUNTERS: Final = {
    "martians": "Addresses that can't be",
    "spoofed": "Addresses of our networks from elsewhere",
    "blocked": "Blocked by a list",
    "invalid": "Part of no connection",
    "sip-flood": "Too many SIP requests of one source",
    "connection-flood": "Too many connections of one source",
    "tunnel-flood": "Too many openings of a tunnel by one source",
    "ping-flood": "Too many pings of one source",
    "turn-flood": "Too many TURN requests without a relay",
    "closed": "To a closed port",
    "not-forwarded": "From one network to another",
    "sip": "SIP packets over UDP, new connections over TCP",
    "media": "Voice packets",
    "portal": "Portal, new connections",
    "ssh": "SSH, new connections",
    "provisioning": "Provisioning, new connections",
    "vpn": "Voice VPN packets",
    "enrolment": "Enrolment of branches, new connections",
    "turn": "TURN packets",
    "relayed-elsewhere": "From a TURN relay to something else than voice",
    "edges": "Service for branches, new connections",
}
"""Counters, in words for people."""

Family = Literal[4, 6]
FAMILIES: Final[tuple[Family, Family]] = (4, 6)
_IP: Final[dict[Family, str]] = {4: "ip", 6: "ip6"}
_PINGS: Final[dict[Family, str]] = {4: "icmp type echo-request", 6: "icmpv6 type echo-request"}


def script(promise: Promise) -> str:
    """The whole script. Equal promises give equal scripts."""
    body = "\n".join(_indented(_table(promise)))
    digest = digest_of(body)
    return (
        f"table inet {TABLE}\ndelete table inet {TABLE}\n"
        f"table inet {TABLE} {{\n  chain {DIGEST}{digest} {{\n  }}\n{body}\n}}\n"
    )


DIGEST: Final = "digest-"
"""An empty chain of this name and the script's digest tells what is loaded."""


def digest_in(script: str) -> str | None:
    """The digest that a script carries."""
    found = re.search(rf"^  chain {DIGEST}([0-9a-f]{{32}}) {{", script, re.MULTILINE)
    return found[1] if found else None


def digest_of(body: str) -> str:
    """What tells two scripts apart: 32 hexadecimal digits."""
    return hashlib.sha256(body.encode()).hexdigest()[:32]


def _table(promised: Promise) -> Iterator[str]:
    promise = _merged(promised)
    for name in COUNTERS:
        yield f"counter {name} {{ }}"
    yield from _sets(promise)
    yield from _way_back()
    yield from _early(promise)
    yield from _input(promise)
    for sources in promise.groups:
        yield from _chain(f"from-{sources.name}", _openings(promise, sources))
    yield from _chain("sip-limits", _sip_limits(promise))
    yield from _chain("connection-limits", _connection_limits())
    if promise.relays is not None:
        yield from turn.chains(promise.relays)
    yield from _forward(promise)


def _merged(promise: Promise) -> Promise:
    """The same promise with groups that may do the same as one: a packet is looked up in a handful of sets, not in one for each trunk."""
    may: dict[Sources, list[tuple[Service, str, tuple[int, int], str | None]]] = {}
    for each in promise.openings:
        may.setdefault(each.sources, []).append((each.service, each.protocol, each.ports, each.address))
    alike: dict[object, list[Sources]] = {}
    for sources, doors in may.items():
        kind = sources.name.partition("-")[0]
        alike.setdefault((kind, sources.interface, not sources.networks, tuple(doors)), []).append(sources)
    one_of: dict[Sources, Sources] = {}
    for found in alike.values():
        networks = tuple(dict.fromkeys(network for each in found for network in each.networks))
        one_of |= dict.fromkeys(found, replace(found[0], networks=networks))
    openings = (replace(each, sources=one_of[each.sources]) for each in promise.openings)
    return replace(promise, openings=tuple(dict.fromkeys(openings)))


def _chain(name: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"chain {name} {{"
    yield from lines
    yield "}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    depth = 1
    for line in lines:
        depth -= line == "}"
        yield "  " * depth + line
        depth += line.endswith("{")


def _sets(promise: Promise) -> Iterator[str]:
    groups = {sources.name: sources for sources in promise.groups if sources.networks}
    named = {name: sources.networks for name, sources in groups.items()}
    named |= {"inside": promise.inside, "blocked": promise.blocked, "providers": _providers(promise)}
    for name, networks in named.items():
        for family in FAMILIES:
            yield from _set(name, family, [each for each in networks if (":" in each) == (family == 6)])
    for family in FAMILIES:
        yield f"set neighbours-{family} {{"
        yield f"type ipv{family}_addr . ipv{family}_addr; flags interval;"
        pairs = _widest([pair for pair in promise.neighbours if (":" in pair[0]) == (family == 6)])
        if pairs:
            yield f"elements = {{ {', '.join(f'{one} . {other}' for one, other in pairs)} }}"
        yield "}"
    for meter in ("ping", "sip", "connect", "reset", *(method.lower() for method in METHODS)):
        for family in FAMILIES:
            yield f"set {meter}-rate-{family} {{"
            yield f"type ipv{family}_addr; size {METER_SIZE}; flags dynamic,timeout; timeout 1m;"
            yield "}"
    yield f"set {GATE} {{"
    yield "type inet_service; flags timeout;"
    yield "}"
    for family in FAMILIES:
        yield f"set looked-{family} {{"
        yield f"type ipv{family}_addr; size {METER_SIZE}; flags dynamic,timeout; timeout {LOOK_AGAIN};"
        yield "}"
    if promise.relays is not None:
        yield from turn.sets()
    for family in FAMILIES:
        yield f"set connected-{family} {{"
        yield f"type ipv{family}_addr; size {METER_SIZE}; flags dynamic;"
        yield "}"


def _set(name: str, family: Family, networks: list[str]) -> Iterator[str]:
    yield f"set {name}-{family} {{"
    yield f"type ipv{family}_addr; flags interval;"
    collapsed = _collapsed(networks)
    if collapsed:
        yield f"elements = {{ {', '.join(collapsed)} }}"
    yield "}"


def _collapsed(networks: Iterable[str]) -> list[str]:
    """Without what others hold: intervals of a set mustn't overlap."""
    four = [net for each in networks if isinstance(net := ipaddress.ip_network(each), ipaddress.IPv4Network)]
    six = [net for each in networks if isinstance(net := ipaddress.ip_network(each), ipaddress.IPv6Network)]
    return [str(net) for net in (*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six))]


def _widest(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without networks that lie within another one of the same site: pairs of a set mustn't overlap."""
    found = list(pairs)
    nets = {ipaddress.ip_network(each) for pair in found for each in pair}
    within: dict[str, str] = {}
    last, end = "", -1
    for net in sorted(nets, key=lambda net: (int(net.network_address), net.prefixlen)):
        if int(net.broadcast_address) > end:
            last, end = str(net), int(net.broadcast_address)
        within[str(net)] = last
    return list(dict.fromkeys((within[one], within[other]) for one, other in found))


def _providers(promise: Promise) -> tuple[str, ...]:
    return tuple(
        network for sources in promise.groups if sources.name.startswith("trunk-") for network in sources.networks
    )


def _from(sources: Sources) -> Iterator[str]:
    """The matches that lead to a group: one for each family, one alone for anybody."""
    interface = f'iifname "{sources.interface}" ' if sources.interface else ""
    if not sources.networks:
        yield interface
        return
    for family in FAMILIES:
        if sources.of(family):
            yield f"{interface}{_IP[family]} saddr @{sources.name}-{family} "


def _way_back() -> Iterator[str]:
    """One look into the routes for each packet: those of our networks have to lead back to where it came from."""
    yield from _chain("way-back-inside", ["fib saddr . iif oif missing counter name spoofed drop"])
    inside = [f"{_IP[family]} saddr @inside-{family} goto way-back-inside" for family in FAMILIES]
    yield from _chain("way-back", [*inside, "fib saddr oif missing counter name spoofed drop"])


def _early(promise: Promise) -> Iterator[str]:
    yield "chain early {"
    yield "type filter hook prerouting priority raw; policy accept;"
    yield 'iif "lo" accept'
    yield "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept"
    yield f"ip saddr {{ {', '.join(MARTIANS4)} }} counter name martians drop"
    yield f"ip6 saddr {{ {', '.join(MARTIANS6)} }} counter name martians drop"
    yield f"ip6 daddr {{ {', '.join(STAND_INS)} }} counter name martians drop"  # the loopback's own, and not to be had by a wire
    yield "jump way-back"
    yield from _tunnels_early(promise)
    for family in FAMILIES:
        yield f"{_IP[family]} saddr @blocked-{family} counter name blocked drop"
    for source, ports in _untracked(promise):
        yield f"{source}udp dport {ports} notrack accept"
    yield "}"
    yield "chain early-out {"
    yield "type filter hook output priority raw; policy accept;"
    yield 'oif "lo" accept'
    for port in promise.tunnels:
        yield f"udp sport {port} notrack accept"
    for source, ports in _untracked(promise):
        back = source.replace("iifname", "oifname").replace("saddr", "daddr")
        yield f"{back}udp sport {ports} notrack accept"
    yield "}"


def _untracked(promise: Promise) -> Iterator[tuple[str, str]]:
    """Sources and UDP ports of voice, of TURN, and of the phones' SIP. Not SIP with providers: what answers us may have an address that
    no name was resolved to."""
    found: dict[Sources, dict[tuple[int, int], None]] = {}
    for each in promise.openings:
        phones = not each.sources.name.startswith("trunk-")
        voice = each.service in (Service.MEDIA, Service.TURN)
        if voice or (each.service is Service.SIP and each.protocol == "udp" and phones):
            found.setdefault(each.sources, {})[each.ports] = None
    for sources, ports in found.items():
        for source in _from(sources):
            yield source, f"{{ {', '.join(map(_ports, ports))} }}"


def _tunnels_early(promise: Promise) -> Iterator[str]:
    opcodes = ", ".join(str(code) for code in RESET_OPCODES)
    for port in promise.tunnels:
        for family in FAMILIES:
            over = _over("reset", family, RESETS)
            yield f"udp dport {port} @th,64,8 {{ {opcodes} }} {over} counter name tunnel-flood drop"
        yield f"udp dport {port} notrack accept"


def _over(meter: str, family: Family, limit: tuple[int, int]) -> str:
    """Matches what one source sends above a limit of (a second, at once)."""
    rate, burst = limit
    source = f"{_IP[family]} saddr"
    return f"update @{meter}-rate-{family} {{ {source} limit rate over {rate}/second burst {burst} packets }}"


def _input(promise: Promise) -> Iterator[str]:
    sip = sorted({each.ports for each in promise.openings if (each.service, each.protocol) == (Service.SIP, "udp")})
    yield "chain input {"
    yield "type filter hook input priority filter; policy drop;"
    yield 'iif "lo" accept'
    if sip:
        yield f"udp dport {{ {', '.join(map(_ports, sip))} }} jump sip-limits"
    for family, ping in _PINGS.items():  # all pings of one program are one known flow
        yield f"{ping} {_over('ping', family, PINGS)} counter name ping-flood drop"
    yield "ct state established,related accept"
    yield "ct state invalid counter name invalid drop"
    yield "icmp type { destination-unreachable, time-exceeded, parameter-problem } accept"
    yield "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept"
    yield "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept"
    yield from (f"{ping} accept" for ping in _PINGS.values())
    for sources in promise.groups:
        for source in _from(sources):
            yield f"{source}jump from-{sources.name}"
    yield f"limit rate {LOGGED}/second burst {LOGGED} packets {_told(CLOSED)}"
    yield "counter name closed drop"
    yield "}"


def _told(prefix: str) -> str:
    return f'log prefix "{prefix}" group {LOG_GROUP} snaplen {SNAPLEN}'


def _openings(promise: Promise, sources: Sources) -> Iterator[str]:
    for opening in promise.openings:
        if opening.sources == sources:
            yield from _opening(opening)


def _opening(opening: Opening) -> Iterator[str]:
    at = ""
    if opening.address is not None:
        version: Family = 6 if ":" in opening.address else 4
        at = f"meta nfproto ipv{version} " if is_any(opening.address) else f"{_IP[version]} daddr {opening.address} "
    match = f"{at}{opening.protocol} dport {_ports(opening.ports)}"
    if opening.at_times:
        match += f" tcp dport @{GATE}"
    if opening.protocol == "tcp":
        yield f"{match} jump connection-limits"
    if opening.service is Service.TURN:
        yield f"{match} jump {turn.LIMITS}"
    yield f"{match} counter name {opening.service} accept"


def _ports(ports: tuple[int, int]) -> str:
    first, last = ports
    return str(first) if first == last else f"{first}-{last}"


def _sip_limits(promise: Promise) -> Iterator[str]:
    if _providers(promise):
        for family in FAMILIES:
            yield f"{_IP[family]} saddr @providers-{family} return"
    for method, limit in METHODS.items():
        begins = f"0x{method[:4].encode().hex()}"  # the first four octets after the UDP header
        for family in FAMILIES:
            yield f"@th,64,32 {begins} {_over(method.lower(), family, limit)} counter name sip-flood drop"
    for family in FAMILIES:
        yield f"{_over('sip', family, SIP_PACKETS)} counter name sip-flood drop"
    for family in FAMILIES:
        new = f"@th,64,32 != {ANSWER} {_IP[family]} saddr != @looked-{family} limit rate {LOGGED}/second burst {LOGGED} packets"
        yield f"{new} add @looked-{family} {{ {_IP[family]} saddr }} {_told(LOOKED_AT)}"


def _connection_limits() -> Iterator[str]:
    for family in FAMILIES:
        yield f"{_over('connect', family, CONNECTS)} counter name connection-flood drop"
        held = f"add @connected-{family} {{ {_IP[family]} saddr ct count over {CONNECTIONS} }}"
        yield f"{held} counter name connection-flood reject with tcp reset"


def _forward(promise: Promise) -> Iterator[str]:
    voice = [each for each in promise.groups if each.name.startswith("network-") and _is_voice(promise, each)]
    vpn = next((each for each in promise.groups if each.name == "vpn"), None)
    yield "chain forward {"
    yield "type filter hook forward priority filter; policy drop;"
    yield "tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu"
    yield "ct state established,related accept"
    yield "ct state invalid counter name invalid drop"
    if vpn is not None:
        for network in voice:
            for family in FAMILIES:
                if vpn.of(family) and network.of(family):
                    ip = _IP[family]
                    inner = f"{ip} saddr @vpn-{family} {ip} daddr @{network.name}-{family}"
                    outer = f"{ip} saddr @{network.name}-{family} {ip} daddr @vpn-{family}"
                    yield f'iifname "{TUNNELS}" {inner} accept'
                    yield f'oifname "{TUNNELS}" {outer} accept'
    for family in FAMILIES:
        ip, tunnels = _IP[family], f'iifname "{TUNNELS}" oifname "{TUNNELS}"'
        yield f"{tunnels} {ip} saddr . {ip} daddr @neighbours-{family} accept"
    yield "counter name not-forwarded drop"
    yield "}"


def _is_voice(promise: Promise, sources: Sources) -> bool:
    """A group that voice is open to: networks of zone voice, and no others."""
    return any(each.sources == sources and each.service is Service.MEDIA for each in promise.openings)
