"""Document → who may reach what (pure): the promise that rules are made from, that screens show and that scans are compared with.

Everything that isn't an opening is closed. As long as the document has neither networks nor branches, private networks may set the
machine up: portal and SSH, nothing else; the first network that is named ends that. An opening is for a group of sources: whoever comes out of the voice VPN, the
networks of an object of the document, a trunk's provider, or anybody.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from appliance.core.document import Document
from appliance.failover.plan import outer_ports
from appliance.firewall.model import AddressList, ListAction, Network, NetworkZone
from appliance.pbx.media.model import Listener, Transport, Zone
from appliance.pbx.trunks.listeners import listener_for
from appliance.pbx.trunks.model import Provider, Trunk
from appliance.pbx.trunks.names import question
from appliance.turn.addresses import listen_addresses, peers, turn_server
from appliance.turn.model import OpenTo, TurnServer
from appliance.vpn.addresses import (
    INSIDE_PORT,
    branches,
    concentrator,
    daemons_for,
    neighbours,
    networks_of,
    ours,
    own_addresses,
)

TUNNELS: Final = "voice-*"
"""Interfaces of the voice VPN (wild card of nftables)."""


class Service(StrEnum):
    """What an opening is good for."""

    SIP = "sip"
    MEDIA = "media"
    PORTAL = "portal"
    SSH = "ssh"
    PROVISIONING = "provisioning"
    VPN = "vpn"
    ENROLMENT = "enrolment"
    TURN = "turn"
    EDGES = "edges"


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts of this installation.

    :param cores: processors, which daemons of the voice VPN are shared out to.
    :param media: first and last UDP port of voice packets.
    :param names: addresses of the host names that the document mentions, as they were looked up last, by the key of
        their question (:class:`appliance.names.answers.Question`).
    :param provisioning: TCP port of phones' provisioning; None: nothing answers there, so nothing is opened.
    :param memory: bytes.
    :param turn: the TURN server runs here.
    """

    portal: int = 8443
    ssh: int = 22
    cores: int = 1
    media: tuple[int, int] = (10000, 19999)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    provisioning: int | None = None
    memory: int = 1 << 30
    turn: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """A group of sources. ``name`` is fit for a set of nftables; no networks: anybody (on ``interface``)."""

    name: str
    networks: tuple[str, ...] = ()
    interface: str | None = None

    def of(self, version: Literal[4, 6]) -> tuple[str, ...]:
        """Its networks of one family."""
        return tuple(each for each in self.networks if (":" in each) == (version == 6))


@dataclass(frozen=True, slots=True)
class Opening:
    """One service, open to one group of sources. ``ports``: first and last; ``address``: at this address of ours only, or at all
    of its family (``0.0.0.0`` or ``::``); None: at all. ``at_times``: only while an invitation of a new edge waits
    (:mod:`appliance.vpn.enrolment.gate` says when)."""

    sources: Sources
    service: Service
    protocol: Literal["tcp", "udp"]
    ports: tuple[int, int]
    address: str | None = None
    at_times: bool = False


@dataclass(frozen=True, slots=True)
class Relays:
    """What the TURN server may send: to browsers from ``port``, and from its relays to the engine's voice, at ``peers`` and ``media``.

    Whoever has credentials can have it send to any port of a peer, and such a packet comes from this machine itself: so
    its own packets are looked at as they leave.
    """

    port: int
    peers: tuple[str, ...]
    media: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Promise:
    """What the firewall lets in.

    :param inside: networks whose addresses nobody may use who isn't there.
    :param tunnels: UDP ports of the voice VPN, for anybody.
    :param neighbours: networks of sites that reach each other through us: each pair twice, either way round.
    :param relays: what the TURN server may send; None: there is none.
    """

    openings: tuple[Opening, ...]
    inside: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    tunnels: tuple[int, ...] = ()
    neighbours: tuple[tuple[str, str], ...] = ()
    relays: Relays | None = None

    @property
    def groups(self) -> tuple[Sources, ...]:
        """Every group of sources, each once, in order."""
        return tuple(dict.fromkeys(opening.sources for opening in self.openings))


ANYBODY: Final = Sources("anybody")
NEW: Final = Sources(
    "new-machine", ("10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
)
"""Who may set up a machine that nothing is known of yet: private networks (RFC 1918, 3927, 4193, 4291)."""


def promise(document: Document, machine: Machine) -> Promise:
    """What the document promises on this machine."""
    networks = sorted(document.all(Network).values(), key=lambda item: item.id)
    remote = tuple(
        dict.fromkeys(str(network) for site in branches(document) for network in networks_of(document, site))
    )
    one, tunnels = concentrator(document), outer_ports(document, machine.cores)
    listeners = sorted(document.all(Listener).values(), key=lambda item: item.id)
    turn = turn_server(document) if machine.turn else None
    found: list[Opening] = [Opening(ANYBODY, Service.VPN, "udp", (port, port)) for port in tunnels]
    if one is not None:
        found.append(Opening(ANYBODY, Service.ENROLMENT, "tcp", (one.port, one.port), at_times=True))
    if turn is not None and turn.open_to is OpenTo.ANYBODY:
        found += [
            *_turn(ANYBODY, document, turn),
            Opening(ANYBODY, Service.PORTAL, "tcp", (machine.portal, machine.portal)),
        ]
    if one is not None and remote:
        found += _phones(Sources("vpn", remote, TUNNELS), listeners, machine)
    for network in networks:
        sources = Sources(f"network-{network.id}", network.networks, network.interface)
        match network.zone:
            case NetworkZone.VOICE:
                found += _phones(sources, listeners, machine)
            case NetworkZone.CLIENTS:
                found += [Opening(sources, Service.PORTAL, "tcp", (machine.portal, machine.portal))]
                found += _sip(sources, (each for each in listeners if each.zone is Zone.WEB))
                if turn is not None:
                    found += _turn(sources, document, turn)
            case NetworkZone.MANAGEMENT:
                found += _management(sources, machine)
    if not networks and not remote:
        found += _management(NEW, machine)
    found += _edges(document, machine)
    found += _trunks(document, machine)
    inside = (
        *pools(document),
        *remote,
        *(each for network in networks for each in network.networks if not _is_everything(each)),
    )
    blocked = [each for each in document.all(AddressList).values() if each.action is ListAction.BLOCK]
    return Promise(
        tuple(dict.fromkeys(found)),
        tuple(dict.fromkeys(each for each in inside if not _is_loopback(each))),
        tuple(
            dict.fromkeys(network for each in sorted(blocked, key=lambda item: item.id) for network in each.networks)
        ),
        tunnels,
        tuple(sorted(_neighbours(document))) if one is not None else (),
        None if turn is None else Relays(turn.port, peers(document), machine.media),
    )


def _turn(sources: Sources, document: Document, server: TurnServer) -> Iterator[Opening]:
    """By UDP. What comes by TLS comes in at the portal's port."""
    for address in listen_addresses(document, server):
        yield Opening(sources, Service.TURN, "udp", (server.port, server.port), address)


def pools(document: Document) -> tuple[str, ...]:
    """Networks of the addresses within the tunnels."""
    one = concentrator(document)
    return () if one is None else tuple(each for each in (one.pool, one.pool6) if each is not None)


def _edges(document: Document, machine: Machine) -> Iterator[Opening]:
    """Edges reach the centre's service for them, from their own addresses within the tunnels to ours, and nothing else."""
    one = concentrator(document)
    if one is None:
        return
    sources = Sources("edges", pools(document), TUNNELS)
    for daemon in range(daemons_for(len(ours(document)), machine.cores)):
        try:
            addresses = own_addresses(one, daemon)
        except ValueError:
            return  # no such pool can be put in force: verify says what is wrong with it
        for address in addresses:
            yield Opening(sources, Service.EDGES, "tcp", (INSIDE_PORT, INSIDE_PORT), address)
            yield Opening(sources, Service.EDGES, "udp", (INSIDE_PORT, INSIDE_PORT), address)


def _neighbours(document: Document) -> Iterator[tuple[str, str]]:
    for site, other in neighbours(document):
        for one in networks_of(document, site):
            yield from ((str(one), str(net)) for net in networks_of(document, other) if net.version == one.version)


def _management(sources: Sources, machine: Machine) -> Iterator[Opening]:
    yield Opening(sources, Service.PORTAL, "tcp", (machine.portal, machine.portal))
    yield Opening(sources, Service.SSH, "tcp", (machine.ssh, machine.ssh))


def _phones(sources: Sources, listeners: Iterable[Listener], machine: Machine) -> Iterator[Opening]:
    yield from _sip(sources, (each for each in listeners if each.zone in (Zone.PHONES, Zone.WEB)))
    yield Opening(sources, Service.MEDIA, "udp", machine.media)
    if machine.provisioning is not None:
        yield Opening(sources, Service.PROVISIONING, "tcp", (machine.provisioning, machine.provisioning))


def _sip(sources: Sources, listeners: Iterable[Listener]) -> Iterator[Opening]:
    for listener in listeners:
        protocol: Literal["tcp", "udp"] = "udp" if listener.transport is Transport.UDP else "tcp"
        yield Opening(sources, Service.SIP, protocol, (listener.port, listener.port), listener.address)


def _trunks(document: Document, machine: Machine) -> Iterator[Opening]:
    for trunk in sorted(document.all(Trunk).values(), key=lambda item: item.id):
        provider = document.find(Provider, trunk.provider)
        if provider is None:
            continue
        sources = Sources(f"trunk-{trunk.id}", addresses_of(trunk, provider, machine.names))
        if not sources.networks:
            continue  # its name isn't known yet: closed
        listener = listener_for(document, trunk, provider)
        yield from _sip(sources, () if listener is None else (listener,))
        media = dict.fromkeys((*sources.networks, *provider.media_networks))
        yield Opening(Sources(f"media-{trunk.id}", tuple(media)), Service.MEDIA, "udp", machine.media)


def addresses_of(trunk: Trunk, provider: Provider, names: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Addresses and networks that a trunk's signalling comes from."""
    asked = question(trunk, provider)
    host = (str(ipaddress.ip_address(trunk.host)),) if asked is None else names.get(asked.key, ())
    return tuple(dict.fromkeys((*trunk.accept_from, *(str(ipaddress.ip_network(each)) for each in host))))


def _is_everything(network: str) -> bool:
    return network.endswith("/0")


def _is_loopback(network: str) -> bool:
    return ipaddress.ip_network(network).is_loopback
