"""Document → configurations of the OpenVPN daemons, and what each of them gives a branch (pure).

Every daemon serves the branches whose number falls to it. It knows a branch by the common name of its certificate; whoever
has no file in its directory of clients is turned away, whatever the certificate says. All daemons together are routed, never
bridged, and nothing is translated: a phone is known by its own address at both ends.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from appliance.core.document import Document
from appliance.firewall.model import Network, NetworkZone
from appliance.pbx.media.doors import is_any
from appliance.pbx.media.model import Listener, Zone
from appliance.vpn.addresses import (
    PART6,
    address_in,
    branches,
    concentrator,
    daemons_for,
    home,
    neighbours,
    networks_of,
    ours,
    part4,
    part6,
    third_party,
)
from appliance.vpn.model import BRANCHES, PORT_MAX, THIRD, Branch, Concentrator

NO_DCO: Final = "disable-dco"
"""At both ends: the kernel's implementation leaves the outer packet without a mark, whatever the inner one has. Older than 2.6, as routers of
other makers may be, OpenVPN doesn't know the word, and the kernel's either."""
CIPHERS: Final = "AES-256-GCM:CHACHA20-POLY1305:AES-128-GCM"
"""AEAD only: it authenticates and encrypts in one, and is what the kernel's own implementation (DCO) knows."""
MTU: Final = 1340
"""Octets of a packet within the tunnel: with at most 72 around it, it fits LTE (1,428) and PPPoE (1,492) in one piece."""
HAND_WINDOW_S: Final = 12
"""A handshake takes a second. When all branches come back at once each waits for its turn, and what a daemon did for one that gives up is lost.
Longer, and whoever was unlucky in the rush is stuck for as long."""
ANSWER_S: Final = 8
"""A branch that gets no answer at all at an address of the centre tries the next one after so long."""
PING_S: Final = 3
DEAD_S: Final = 10
"""A branch that hears nothing for so long connects anew; the centre forgets it after twice that."""
REPLAY_S: Final = 2
REPLAY_MAX: Final = 65536
"""OpenVPN's own bound (``MAX_SEQ_BACKTRACK``)."""
REPLAY_TIME_S: Final = 30
MAX_CLIENTS: Final = 2 * BRANCHES
"""A branch that comes back may be counted twice until its former session is over."""
OPENINGS: Final = 200_000
"""Sessions opened in ten seconds that are answered, by everybody together. OpenVPN's own 100 keep five hundred branches that come back at
once out for a minute, and any number that a line can reach lets whoever repeats one opening that he has seen keep everybody out. An
answer is as long as the question, costs 20 us, and nothing is kept of it until the other end has shown its address (force-cookie); what
shields from garbage is the key of each branch."""

THIRD_INTERFACE: Final = "voice-third"
OWN_TRIES: Final = 3
"""Times that a branch tries its own daemon before it tries another one."""

_Net = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Installation:
    """Facts of this machine: cores that daemons may take, and lines that name its files."""

    cores: int = 1
    identity: Sequence[str] = ()
    """Who the server is and whom it believes (:func:`appliance.vpn.pki.server_lines`)."""
    local: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """By daemon: its user, its management socket, its directory of clients."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """One OpenVPN daemon.

    :param config: its configuration; what is in it beside the routes changes at a restart of the daemon only, so nothing in it
        depends on a single branch: adding one disturbs no other.
    :param clients: site → what its branch is given.
    """

    index: int
    port: int
    interface: str
    config: str
    clients: Mapping[str, str]


def daemons(document: Document, installation: Installation) -> tuple[Daemon, ...]:
    """All daemons that the document wants; none without a concentrator in use."""
    one = concentrator(document)
    if one is None:
        return ()
    found, others = ours(document), third_party(document)
    number = daemons_for(len(found), installation.cores)
    near = neighbours(document)
    centre = tuple(centre_networks(document, one))
    made = []
    for index in (*range(number), *((THIRD,) if one.third_party else ())):
        mine = others if index == THIRD else {site: each for site, each in found.items() if home(each, number) == index}
        routes = [network for site in mine for network in networks_of(document, site)]
        lines = _server(one, index)
        ways = [_route("route", network) for network in routes]
        given = [*lines, *installation.identity, *installation.local.get(index, ()), *ways]
        clients = {
            site: _text(_client(document, one, branch, index, centre, sorted(b for a, b in near if a == site)))
            for site, branch in mine.items()
        }
        made.append(Daemon(index, one.port + index, interface_of(index), _text(given), clients))
    return tuple(made)


def centre_networks(document: Document, one: Concentrator) -> Iterator[_Net]:
    """What branches reach at the centre: networks of phones, and the addresses of the listeners and of their voice."""
    outside = {address.host for address in one.addresses}
    found: dict[_Net, None] = {}
    for network in sorted(document.all(Network).values(), key=lambda item: item.id):
        if network.zone is NetworkZone.VOICE:
            found |= dict.fromkeys(map(ipaddress.ip_network, network.networks))
    for listener in sorted(document.all(Listener).values(), key=lambda item: item.id):
        if listener.zone is not Zone.TRUNKS:
            for text in (listener.address, listener.media_address):
                if text is not None and not is_any(text) and text not in outside:
                    found[ipaddress.ip_network(text)] = None
    for net in found:
        if not net.is_loopback and (net.version == 4 or one.pool6 is not None):
            yield net


def interface_of(index: int) -> str:
    """Name of a daemon's interface."""
    return THIRD_INTERFACE if index == THIRD else f"voice-{index}"


def routes_of(config: str) -> frozenset[str]:
    """Networks that a daemon's configuration routes into its tunnel."""
    found = set()
    for line in config.splitlines():
        words = line.split()
        if words[:1] == ["route"]:
            found.add(str(ipaddress.ip_network(f"{words[1]}/{words[2]}")))
        elif words[:1] == ["route-ipv6"]:
            found.add(words[1])
    return frozenset(found)


def own_of(config: str) -> tuple[str, ...]:
    """A daemon's own addresses within its tunnel, from its configuration."""
    words = [line.split() for line in config.splitlines()]
    return tuple(each[1].partition("/")[0] for each in words if each[:1] in (["ifconfig"], ["ifconfig-ipv6"]))


def without_routes(config: str) -> str:
    """What a daemon has to be restarted for."""
    return _text([line for line in config.splitlines() if not line.startswith(("route ", "route-ipv6 "))])


def _server(one: Concentrator, index: int) -> Iterator[str]:
    part = part4(one.pool, index)
    yield f"# Made from {one.path()}; edits are lost."
    yield from ("mode server", "tls-server", f"dev {interface_of(index)}", "dev-type tun", NO_DCO)
    yield from ("proto udp6", f"port {one.port + index}")  # IPv4 too
    yield "multihome"  # a branch that came to one address of ours gets no answer from another
    yield from ("topology subnet", f"ifconfig {part[1]} {part.netmask}")
    yield f"route-gateway {part[2]}"  # what is routed into the tunnel goes by its inner table, whatever address stands here
    yield from ('push "topology subnet"', f'push "route-gateway {part[1]}"')
    if one.pool6 is not None:
        part_6 = part6(one.pool6, index)
        yield f"ifconfig-ipv6 {part_6[1]}/{PART6} {part_6[2]}"
    yield from (f"data-ciphers {CIPHERS}", "tls-groups X25519:secp384r1:secp256r1")
    yield from _both_ends(one)
    yield from (f"keepalive {PING_S} {DEAD_S}", "ccd-exclusive")
    yield from (f"max-clients {MAX_CLIENTS}", f"connect-freq-initial {OPENINGS} 10")
    yield from ("status-version 3", "verb 2", "mute 20")


def _both_ends(one: Concentrator) -> Iterator[str]:
    """What both ends must have alike."""
    window = min(REPLAY_MAX, one.packets_per_second * REPLAY_S)
    yield from (f"tun-mtu {MTU}", f"mssfix {MTU} fixed", "passtos")
    yield from (f"replay-window {window} {REPLAY_TIME_S}", f"hand-window {HAND_WINDOW_S}", "tls-timeout 1")
    yield from ("persist-key", "persist-tun", "auth-nocache", "sndbuf 1048576", "rcvbuf 1048576")


def _client(
    document: Document, one: Concentrator, branch: Branch, index: int, centre: Sequence[_Net], near: Sequence[str]
) -> Iterator[str]:
    part = part4(one.pool, index)
    yield f"# Made from {branch.path()}; edits are lost."
    yield f"ifconfig-push {address_in(part, branch.number)} {part.netmask}"
    if one.pool6 is not None:
        part_6 = part6(one.pool6, index)
        yield f"ifconfig-ipv6-push {address_in(part_6, branch.number)}/{PART6} {part_6[1]}"
    own = tuple(networks_of(document, branch.site))
    yield from (_route("iroute", network) for network in own)
    there = [*centre, *(network for site in near for network in networks_of(document, site))]
    for network in dict.fromkeys(there):
        if network not in own:
            yield f'push "{_route("route", network)}"'


def _route(word: str, network: _Net) -> str:
    if isinstance(network, ipaddress.IPv6Network):
        return f"{word}-ipv6 {network}"
    return f"{word} {network.network_address} {network.netmask}"


def branch_lines(document: Document, site: str, cores: int) -> tuple[str, ...]:
    """Configuration of a branch's end, but for its keys. Empty: no such branch is in use, or no concentrator (that lets its router in)."""
    one, found = concentrator(document), branches(document)
    if one is None or site not in found or (site in third_party(document) and not one.third_party):
        return ()
    ways = remotes(one, found[site], daemons_for(len(ours(document)), cores))
    known = (*(f"remote {host} {port} udp" for host, port in ways), *end_lines(one))
    return tuple(line for line in known if line != NO_DCO or site not in third_party(document))


def remotes(one: Concentrator, branch: Branch, number: int) -> tuple[tuple[str, int], ...]:
    """Where a branch finds the centre, of so many daemons: its own daemon at every address of the centre, then the others.

    Those are tried in case the number of daemons has changed since: each of them turns away who isn't its own, after a whole handshake.
    So its own comes several times: when all come back at once, whoever had to wait for too long isn't turned away besides. Routers of
    other makers have one daemon.
    """
    first = home(branch, number)
    own = [first] * (OWN_TRIES if number > 1 else 1)
    order = [THIRD] if first == THIRD else [*own, *(index for index in range(number) if index != first)]
    found = ((address.host, address.port + index) for index in order for address in one.addresses)
    return tuple((host, port) for host, port in found if port <= PORT_MAX)


def end_lines(one: Concentrator) -> tuple[str, ...]:
    """Configuration of a branch's end, but for its keys and where the centre is.

    A daemon that turns it away (it isn't its own, or hasn't its file yet) says AUTH_FAILED: OpenVPN would end itself on that word. With
    ``auth-retry nointeract`` it goes on, and pauses for ten seconds before each attempt, or for the most that ``connect-retry`` allows.
    """
    return (
        "client", "dev-type tun", NO_DCO, "nobind", f"data-ciphers {CIPHERS}", *_both_ends(one),
        f"server-poll-timeout {ANSWER_S}", "connect-retry 1 2", "resolv-retry 2", "auth-retry nointeract", "explicit-exit-notify 1", "verb 3", "mute 20",
    )  # fmt: skip


def _text(lines: Sequence[str] | Iterator[str]) -> str:
    return "\n".join(lines) + "\n"
