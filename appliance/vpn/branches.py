"""The live view of branches: what daemons tell of their clients, folded into one row for each certificate (pure).

Feed it what a subscription of :class:`appliance.engine.openvpn_management.Management` gives, for each daemon by its
name, and take :meth:`Branches.rows`. Times come in; nothing here looks at a clock.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from appliance.engine.openvpn_messages import ByteCount, ClientStep, Event
from appliance.engine.openvpn_status import ClientSession, Missed, Network, Snapshot, Standing

WINDOW_S: Final = 5.0
"""Seconds over which a rate is taken."""
WINDOW_MIN_S: Final = 0.5
"""No rate is told of less than this."""
SAMPLES_MAX: Final = 64
JUST_S: Final = 5
"""What is known of a session that isn't in the status is forgotten after so many seconds: it may have just come."""


@dataclass(frozen=True, slots=True)
class Branch:
    """A certificate that is connected. What nobody has told is ``None``.

    :param daemon: name of the daemon that it is connected to.
    :param connected_since: seconds since 1970, by the centre's clock.
    :param received: bytes that the centre got from it since then.
    :param received_rate: bit/s over the last five seconds, tunnel packets with their overhead.
    :param sessions: more than one: the same certificate is used twice; the row is the youngest's.
    :param version: of the branch's OpenVPN (``IV_VER``); told at connecting, so unknown of who connected before us.
    :param serial: of its certificate, lower-case hexadecimal without colons; known like ``version``.
    """

    common_name: str
    daemon: str
    cid: int
    connected_since: int
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int | None
    virtual4: ipaddress.IPv4Address | None
    virtual6: ipaddress.IPv6Address | None
    networks: tuple[Network, ...]
    received: int
    sent: int
    cipher: str
    received_rate: float | None = None
    sent_rate: float | None = None
    sessions: int = 1
    version: str | None = None
    platform: str | None = None
    serial: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """What tells one certificate's session from any other, and where it is; ``inside``: its address within the tunnel."""

    daemon: str
    common_name: str
    cid: int
    connected_since: int
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    inside: ipaddress.IPv4Address | ipaddress.IPv6Address | None


_Sessions = list[tuple[str, ClientSession]]
"""Of one certificate, each with its daemon."""


@dataclass(slots=True)
class _Counted:
    """Counters of one session as they came: (seconds, received, sent)."""

    samples: deque[tuple[float, int, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES_MAX))

    def add(self, at: float, received: int, sent: int) -> None:
        if self.samples:
            last = self.samples[-1]
            if at < last[0] or received < last[1] or sent < last[2]:
                self.samples.clear()  # a clock or a counter that went back: begin anew
            elif at == last[0]:
                self.samples.pop()
        self.samples.append((at, received, sent))
        while len(self.samples) > 2 and self.samples[1][0] <= at - WINDOW_S:
            self.samples.popleft()

    def rates(self) -> tuple[float | None, float | None]:
        if len(self.samples) < 2:
            return None, None
        (began, received, sent), (ended, received_now, sent_now) = self.samples[0], self.samples[-1]
        if ended - began < WINDOW_MIN_S:
            return None, None
        return 8 * (received_now - received) / (ended - began), 8 * (sent_now - sent) / (ended - began)


@dataclass(slots=True)
class _Daemon:
    clients: dict[int, ClientSession] = field(default_factory=dict)
    counted: dict[int, _Counted] = field(default_factory=dict)


class Branches:
    """State of all daemons together."""

    def __init__(self) -> None:
        self._daemons: dict[str, _Daemon] = {}
        self._peers: dict[str, dict[tuple[str, int, int], Mapping[str, str]]] = {}
        self._sessions: tuple[Session, ...] | None = None

    def take(self, daemon: str, item: Event | Standing | Snapshot | Missed, at: float) -> None:
        """One item of a daemon's subscription.

        :param at: seconds of a clock that doesn't go back, when it came.
        """
        match item:
            case Standing(kind="gone"):
                self._drop(daemon)
            case Snapshot():
                self._snapshot(daemon, item, at)
            case ByteCount():
                self._count(daemon, item, at)
            case ClientStep(step="ESTABLISHED"):
                self._established(daemon, item)
            case _:
                pass

    def forget(self, daemon: str) -> None:
        """A daemon isn't there any more, and won't be."""
        self._drop(daemon)
        self._peers.pop(daemon, None)

    def _drop(self, daemon: str) -> None:
        if self._daemons.pop(daemon, None) is not None:
            self._sessions = None

    def sessions(self) -> tuple[Session, ...]:
        """Who is connected now, by common name; reckoned once for each snapshot, so it may be asked for often."""
        if self._sessions is None:
            self._sessions = tuple(
                Session(
                    daemon=name,
                    common_name=each.common_name,
                    cid=each.cid,
                    connected_since=each.connected_since,
                    address=each.address,
                    inside=each.virtual4 or each.virtual6,
                )
                for name, each in map(_youngest, self._by_name())
            )
        return self._sessions

    def rows(self) -> list[Branch]:
        """The same with all that is known of them."""
        return [self._row(sessions) for sessions in self._by_name()]

    def _by_name(self) -> list[_Sessions]:
        found: dict[str, _Sessions] = {}
        for name, daemon in self._daemons.items():
            for client in daemon.clients.values():
                found.setdefault(client.common_name, []).append((name, client))
        return [sessions for _, sessions in sorted(found.items())]

    def _snapshot(self, name: str, snapshot: Snapshot, at: float) -> None:
        before = self._daemons.get(name, _Daemon())
        after = self._daemons[name] = _Daemon()
        self._sessions = None
        for client in snapshot.clients:
            old = before.clients.get(client.cid)
            same = old is not None and _key(old) == _key(client)
            after.clients[client.cid] = client
            after.counted[client.cid] = before.counted[client.cid] if same else _Counted()
            after.counted[client.cid].add(at, client.received, client.sent)
        living = {_key(client) for client in snapshot.clients}
        peers = self._peers.get(name, {})
        just_come = snapshot.status.at - JUST_S
        self._peers[name] = {key: said for key, said in peers.items() if key in living or key[2] >= just_come}

    def _count(self, name: str, count: ByteCount, at: float) -> None:
        counted = self._daemons.get(name, _Daemon()).counted.get(count.cid)
        if counted is not None:
            counted.add(at, count.received, count.sent)

    def _established(self, name: str, step: ClientStep) -> None:
        since = step.fields.get("time_unix", "")
        if since.isascii() and since.isdigit():
            key = (step.fields.get("common_name", ""), step.cid, int(since))
            self._peers.setdefault(name, {})[key] = step.fields

    def _row(self, sessions: _Sessions) -> Branch:
        name, client = _youngest(sessions)
        counted = self._daemons[name].counted[client.cid]
        last = counted.samples[-1]
        received_rate, sent_rate = counted.rates()
        said = self._peers.get(name, {}).get(_key(client), {})
        return Branch(
            common_name=client.common_name,
            daemon=name,
            cid=client.cid,
            connected_since=client.connected_since,
            address=client.address,
            port=client.port,
            virtual4=client.virtual4,
            virtual6=client.virtual6,
            networks=client.networks,
            received=last[1],
            sent=last[2],
            cipher=client.cipher,
            received_rate=received_rate,
            sent_rate=sent_rate,
            sessions=len(sessions),
            version=said.get("IV_VER"),
            platform=said.get("IV_PLAT"),
            serial=said["tls_serial_hex_0"].replace(":", "") if "tls_serial_hex_0" in said else None,
        )


def _youngest(sessions: _Sessions) -> tuple[str, ClientSession]:
    return max(sessions, key=lambda each: (each[1].connected_since, each[1].cid))


def _key(client: ClientSession) -> tuple[str, int, int]:
    """What a session is recognised by, also after the daemon began its numbers anew."""
    return client.common_name, client.cid, client.connected_since
