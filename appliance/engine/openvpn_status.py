"""What an OpenVPN server tells of itself and its clients, as values (pure).

Source: ``multi_print_status`` (status version 3) and ``man_load_stats`` of OpenVPN 2.6. Columns are found by their names
in the ``HEADER`` lines, so that a version with more of them is read as well.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final, Literal

from appliance.core.errors import CorruptError, UnavailableError
from appliance.engine.openvpn_messages import State, parse_number, parse_state

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNNAMED: Final = "UNDEF"
"""Common name of a client whose certificate hasn't been seen yet."""
_CLIENT_COLUMNS: Final = (
    "Common Name", "Real Address", "Virtual Address", "Virtual IPv6 Address", "Bytes Received", "Bytes Sent",
    "Connected Since (time_t)", "Client ID", "Peer ID", "Data Channel Cipher",
)  # fmt: skip
_ROUTE_COLUMNS: Final = ("Virtual Address", "Common Name", "Real Address")
_REMEMBERED: Final = 8192
_TRANSPORT: Final = re.compile(r"(udp|tcp)[46]?(-server|-client)?:")


@dataclass(frozen=True, slots=True)
class ClientSession:
    """A client that is connected.

    :param port: ``None`` for IPv6: OpenVPN 2.6 doesn't print it there.
    :param networks: what is routed to it besides its own addresses (``iroute``).
    :param received: bytes that the server got from it since it connected.
    :param connected_since: seconds since 1970 by the server's clock.
    :param cid: number that commands name it by; never used twice while the daemon runs without a restart.
    """

    common_name: str
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int | None
    virtual4: ipaddress.IPv4Address | None
    virtual6: ipaddress.IPv6Address | None
    received: int
    sent: int
    connected_since: int
    cid: int
    peer_id: int
    cipher: str
    networks: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """All clients at one moment. ``handshakes``: who is still on the way in. ``unreadable``: rows that made no sense."""

    at: int
    title: str
    clients: tuple[ClientSession, ...] = ()
    handshakes: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Version:
    """``program``: ``OpenVPN 2.6.14 x86_64-pc-linux-gnu …``; ``interface``: number of the management protocol."""

    program: str
    interface: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """The daemon's own totals since it started."""

    clients: int
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands between us and the daemon.

    ``up``: it answers; ``held``: it answers and waits for ``hold release``; ``gone``: it doesn't, and nothing is known of
    its clients.

    :param since: seconds since 1970 by our clock.
    :param error: why it isn't ``up``, and what to do.
    """

    kind: Literal["up", "held", "gone"]
    since: float
    error: UnavailableError | None = field(default=None, compare=False)

    @property
    def alarm(self) -> str:
        """One line for people; empty when all is well."""
        return self.error.message if self.error else ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is known of a daemon that answers. ``taken``: seconds since 1970 by our clock."""

    taken: float
    version: Version
    pid: int
    state: State | None
    status: Status

    @property
    def clients(self) -> tuple[ClientSession, ...]:
        """Who is connected."""
        return self.status.clients


@dataclass(frozen=True, slots=True)
class Missed:
    """A subscriber was too slow for ``count`` items, its oldest; read the snapshot to know how it stands."""

    count: int


def parse_status(rows: Sequence[str]) -> Status:
    """The answer to ``status 3``. A daemon that is a client itself has no clients and tells no time.

    :raises CorruptError: ``vpn_protocol``: it isn't one.
    """
    if rows and rows[0] == "OpenVPN STATISTICS":
        return Status(0, rows[0])
    reading = _Reading()
    for row in rows:
        kind, *cells = row.split("\t")
        if cells:
            reading.take(kind, cells)
    if reading.at is None or "CLIENT_LIST" not in reading.headers:
        raise CorruptError("the VPN daemon's status can't be read", error_id="vpn_protocol")
    return Status(reading.at, reading.title, reading.found(), reading.handshakes, reading.unreadable)


@dataclass(slots=True)
class _Reading:
    """A status as far as it has been read."""

    headers: dict[str, list[str]] = field(default_factory=dict)
    title: str = ""
    at: int | None = None
    clients: list[tuple[tuple[str, str], ClientSession]] = field(default_factory=list)
    networks: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    handshakes: int = 0
    unreadable: int = 0

    def take(self, kind: str, cells: list[str]) -> None:
        match kind:
            case "TITLE":
                self.title = cells[0]
            case "TIME":
                self.at = parse_number(cells[-1])
            case "HEADER":
                self.headers[cells[0]] = cells[1:]
            case "CLIENT_LIST":
                self._client(_named(self.headers.get(kind), cells, _CLIENT_COLUMNS))
            case "ROUTING_TABLE":
                self._route(_named(self.headers.get(kind), cells, _ROUTE_COLUMNS))

    def _client(self, named: Mapping[str, str] | None) -> None:
        if named is not None and named["Common Name"] == UNNAMED:
            self.handshakes += 1
        elif named is None or (client := _client(named)) is None:
            self.unreadable += 1
        else:
            self.clients.append((_owner(named), client))

    def _route(self, named: Mapping[str, str] | None) -> None:
        if named is None:
            self.unreadable += 1
        else:
            self.networks.setdefault(_owner(named), []).append(named["Virtual Address"])

    def found(self) -> tuple[ClientSession, ...]:
        return tuple(_with_networks(client, self.networks.get(owner, ())) for owner, client in self.clients)


def _owner(named: Mapping[str, str]) -> tuple[str, str]:
    return named["Common Name"], named["Real Address"]


def _with_networks(client: ClientSession, routed: Iterable[str]) -> ClientSession:
    networks = _others(client.virtual4, client.virtual6, tuple(routed))
    return replace(client, networks=networks) if networks else client


def _named(header: list[str] | None, cells: list[str], wanted: Sequence[str]) -> dict[str, str] | None:
    if header is None or len(header) != len(cells) or not set(wanted) <= set(header):
        return None
    return dict(zip(header, cells, strict=True))


def _client(named: Mapping[str, str]) -> ClientSession | None:
    try:
        address, port = _real(named["Real Address"])
        return ClientSession(
            named["Common Name"],
            address,
            port,
            _virtual4(named["Virtual Address"]),
            _virtual6(named["Virtual IPv6 Address"]),
            _required(named["Bytes Received"]),
            _required(named["Bytes Sent"]),
            _required(named["Connected Since (time_t)"]),
            _required(named["Client ID"]),
            _required(named["Peer ID"]),
            named["Data Channel Cipher"],
        )
    except ValueError:
        return None


# The same few addresses come every two seconds; reading them anew took three quarters of the time.


@lru_cache(_REMEMBERED)
def _virtual4(text: str) -> ipaddress.IPv4Address | None:
    return ipaddress.IPv4Address(text) if text else None


@lru_cache(_REMEMBERED)
def _virtual6(text: str) -> ipaddress.IPv6Address | None:
    return ipaddress.IPv6Address(text) if text else None


@lru_cache(_REMEMBERED)
def _real(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int | None]:
    """``192.0.2.1:1194``, ``2001:db8::1``, ``[2001:db8::1]:1194``; later versions write ``udp4:`` before it."""
    text = _TRANSPORT.sub("", text, count=1)
    host, colon, port = text.rpartition(":")
    if colon and (host.count(":") == 0 or host.startswith("[")):
        return ipaddress.ip_address(host.strip("[]")), _required(port)
    return ipaddress.ip_address(text.strip("[]")), None


@lru_cache(_REMEMBERED)
def _others(
    own4: ipaddress.IPv4Address | None, own6: ipaddress.IPv6Address | None, routed: tuple[str, ...]
) -> tuple[Network, ...]:
    """What is routed to a client besides its own addresses."""
    others = {
        each
        for text in routed
        for each in _network(text)
        if each.prefixlen < each.max_prefixlen or each.network_address not in (own4, own6)
    }
    return tuple(sorted(others, key=lambda each: (each.version, each)))


@lru_cache(_REMEMBERED)
def _network(text: str) -> tuple[Network, ...]:
    """A network of the routing table; none for what was only cached on the way (a ``C`` behind it)."""
    try:
        return () if text.endswith("C") else (ipaddress.ip_network(text, strict=False),)
    except ValueError:
        return ()


def parse_states(rows: Sequence[str]) -> State | None:
    """The newest of the answer to ``state``; ``None``: it has none yet.

    :raises CorruptError: ``vpn_protocol``.
    """
    if not rows:
        return None
    found = parse_state(rows[-1])
    if found is None:
        raise CorruptError("the VPN daemon's state can't be read", error_id="vpn_protocol")
    return found


def parse_version(rows: Sequence[str]) -> Version:
    """The answer to ``version``.

    :raises CorruptError: ``vpn_protocol``.
    """
    said = {name.strip(): value.strip() for name, _, value in (row.partition(":") for row in rows)}
    program = said.get("OpenVPN Version", "")
    number = parse_number(said.get("Management Version") or said.get("Management Interface Version") or "")
    if not program or number is None:
        raise CorruptError("the VPN daemon's version can't be read", error_id="vpn_protocol")
    return Version(program, number)


def parse_pairs(text: str, *names: str) -> tuple[int, ...]:
    """Numbers of an answer like ``nclients=2,bytesin=100,bytesout=200``.

    :raises CorruptError: ``vpn_protocol``: one of ``names`` isn't there.
    """
    said = dict(part.partition("=")[::2] for part in text.split(","))
    try:
        return tuple(_required(said.get(name, "").strip()) for name in names)
    except ValueError:
        raise CorruptError("the VPN daemon's answer can't be read", error_id="vpn_protocol") from None


def _required(text: str) -> int:
    number = parse_number(text)
    if number is None:
        raise ValueError(text)
    return number
