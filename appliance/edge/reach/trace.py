"""By which routers the way to a host goes, and how large packets may be: rising hop limits and the sockets' queues of errors (tracepath(8)), without privilege.

Each hop is asked three times at once: a datagram as large as the way is known to take, a small one, and an echo, which a host behind a firewall may answer when it
answers nothing else. Where this user may send no echo it is a third datagram.

What happens when…

* a router is silent: it is asked once more, for many say something once a second at most; then its hop has no address. After :data:`SILENT_MAX` in a row it ends;
* large packets don't go on: who says so tells the size, and the next ones are that large;
* a router says that it can't go on: that ends it, and what it says is told.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from appliance.core.errors import Fault, InvalidError, UnavailableError
from appliance.edge.reach.reports import ERROR4, ERROR6, Kind, Report, report_in
from appliance.edge.reach.way import Way, in_words, said_by
from appliance.vpn.echoes import came, echo

HOPS_MAX: Final = 30
PROBES: Final = 3
SILENT_MAX: Final = 5
TIMEOUT_S: Final = 1.0
GRACE_S: Final = 0.15
"""After the first answer of a hop the others have this long, or twice the time that it took."""
PORT: Final = 33434
"""The first of the ports that traceroute asks, where nobody listens."""
MTU: Final = 1500
"""Octets of the first large packet: no internet line takes more."""
_HEADERS: Final = {False: 28, True: 48}
"""IPv6 or not → octets before a datagram's content."""
_HOP_LIMIT: Final = {False: (socket.IPPROTO_IP, socket.IP_TTL), True: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)}
_DISCOVER: Final = {False: (socket.IPPROTO_IP, 10), True: (socket.IPPROTO_IPV6, 23)}
"""``IP_MTU_DISCOVER``, ``IPV6_MTU_DISCOVER``."""
_PROBE: Final = 3
"""``IP_PMTUDISC_PROBE``: whole or not at all, whatever is believed of the way."""
_TYPES: Final = {False: (8, 0), True: (128, 129)}


@dataclass(frozen=True, slots=True)
class Hop:
    """One router, or several by turns; ``addresses`` empty: silent.

    :param mtu: octets of the largest packet that goes on from the hop before, as it was told here; None: nothing was.
    :param said: why the way ends here.
    """

    number: int
    addresses: tuple[str, ...] = ()
    rtt_ms: float | None = None
    mtu: int | None = None
    said: str = ""
    reached: bool = False


@dataclass(frozen=True, slots=True)
class Traced:
    """The whole way. ``mtu``: octets of the largest packet that goes through, None: 1500 or more, or nobody told."""

    hops: tuple[Hop, ...]
    reached: bool
    mtu: int | None
    said: str


def summed(hops: Iterable[Hop]) -> Traced:
    """What the hops mean together (pure)."""
    known = tuple(hops)
    return Traced(
        known,
        reached=any(each.reached for each in known),
        mtu=min((each.mtu for each in known if each.mtu is not None), default=None),
        said=next((each.said for each in reversed(known) if each.said), ""),
    )


def trace(way: Way, hops: int = HOPS_MAX) -> Iterator[Hop]:
    """Hop by hop, each as soon as it is known.

    :raises NotFoundError: ``no_device``. :raises InvalidError: ``bad_count``.
    """
    if not 1 <= hops <= HOPS_MAX:
        raise InvalidError([Fault("hops", f"{hops} hops are too few or too many", "1 to 30", "bad_count")])
    silent = 0
    with contextlib.closing(_Tracing(way)) as tracing:
        for number in range(1, hops + 1):
            hop = tracing.hop(number)
            if not (hop.addresses or hop.said or silent):
                told = hop.mtu
                hop = tracing.hop(number, again=True)
                hop = replace(hop, mtu=told if hop.mtu is None else hop.mtu)
            yield hop
            silent = 0 if hop.addresses else silent + 1
            if hop.reached or hop.said or silent == SILENT_MAX:
                return


@dataclass(slots=True)
class _Asked:
    """What one hop has answered so far. ``open``: probe → when it was sent."""

    open: dict[int, float] = field(default_factory=dict)
    addresses: list[str] = field(default_factory=list)
    rtt_ms: float | None = None
    mtu: int | None = None
    said: str = ""
    reached: bool = False

    def answered(self, by: str, trip_s: float) -> None:
        if by not in self.addresses:
            self.addresses.append(by)
        trip_ms = max(0.0, trip_s) * 1000
        self.rtt_ms = trip_ms if self.rtt_ms is None else min(self.rtt_ms, trip_ms)


class _Tracing:
    """The sockets. Probes are known by their numbers: a datagram's port, an echo's sequence."""

    def __init__(self, way: Way) -> None:
        self._way, self._mtu, self._echoes = way, MTU, None
        self._datagrams = way.opened(socket.SOCK_DGRAM)
        with contextlib.suppress(UnavailableError):
            self._echoes = way.ping_socket()
        level, option = ERROR6 if way.six else ERROR4
        self._poll = select.poll()
        for each in self._sockets:
            each.setsockopt(level, option, 1)
            self._poll.register(each, select.POLLIN)
        self._datagrams.setsockopt(*_DISCOVER[way.six], _PROBE)

    @property
    def _sockets(self) -> tuple[socket.socket, ...]:
        return (self._datagrams,) if self._echoes is None else (self._datagrams, self._echoes)

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    def hop(self, number: int, again: bool = False) -> Hop:
        """Ask one, and wait. ``again``: by other ports, and nothing large."""
        asked, first = _Asked(), number * PROBES + (HOPS_MAX * PROBES if again else 0)
        for each in self._sockets:
            each.setsockopt(*_HOP_LIMIT[self._way.six], number)
        for index in range(1 if again else 0, PROBES):
            self._send(asked, first + index, index)
        end = (sent := time.monotonic()) + TIMEOUT_S
        while asked.open and (left := end - time.monotonic()) > 0:
            if self._poll.poll(left * 1000 + 1):
                self._read(asked)
            if asked.rtt_ms is not None:
                trip_s = asked.rtt_ms / 1000
                end = min(end, sent + trip_s + max(GRACE_S, 2 * trip_s))
        said = "" if asked.reached else asked.said
        return Hop(number, tuple(asked.addresses), asked.rtt_ms, asked.mtu, said, asked.reached)

    # Sending

    def _send(self, asked: _Asked, probe: int, index: int) -> None:
        by_echo = index == PROBES - 1 and self._echoes is not None
        for last in (False, False, True):
            begun = time.monotonic()
            try:
                if by_echo and self._echoes is not None:
                    self._echoes.sendto(echo(_TYPES[self._way.six][0], 0, probe, bytes(8)), self._way.to())
                else:
                    size = self._mtu - _HEADERS[self._way.six] if index == 0 else 0
                    self._datagrams.sendto(bytes(size), self._way.to(PORT + probe))
            except OSError as error:
                self._read(asked)  # it may have been about a probe before; or the packet is too large for the device
                if last and not asked.open:
                    asked.said = in_words(error)
            else:
                asked.open[probe] = begun
                return

    # Receiving

    def _read(self, asked: _Asked) -> None:
        for each in self._sockets:
            while self._reported(each, asked):
                pass
            while self._answered(each, asked):
                pass

    def _reported(self, from_: socket.socket, asked: _Asked) -> bool:
        """Take one message out of the queue of errors; False: there is none."""
        try:
            data, beside, _flags, to = from_.recvmsg(512, 512, socket.MSG_ERRQUEUE)
        except OSError:
            return False
        report = report_in(beside)
        probe = int(to[1]) - PORT if from_ is self._datagrams else int.from_bytes(data[6:8], "big")
        if report is not None:
            self._take(asked, report, asked.open.pop(probe, None), came(beside))
        return True

    def _take(self, asked: _Asked, report: Report, sent: float | None, at: float) -> None:
        if report.kind is Kind.TOO_LARGE:
            if report.mtu is not None and report.mtu < self._mtu:
                least = _HEADERS[self._way.six]
                asked.mtu = self._mtu = max(report.mtu, least)
            return
        if report.kind is Kind.UNREACHABLE:
            asked.said = said_by(report)  # also of a hop before: a router waits for seconds until it says so
        if sent is not None and report.by:
            asked.answered(report.by, at - sent)
            asked.reached |= report.kind is Kind.ARRIVED or self._way.is_it(report.by)

    def _answered(self, from_: socket.socket, asked: _Asked) -> bool:
        """Take one answer of the host itself; False: there is none."""
        try:
            data, beside, _flags, sender = from_.recvmsg(512, 512)
        except BlockingIOError:
            return False
        except OSError:
            return True  # it was in the queue of errors too
        is_echo = from_ is not self._datagrams
        probe = struct.unpack_from("!H", data, 6)[0] if is_echo and len(data) >= 8 else int(sender[1]) - PORT
        if self._way.is_it(sender[0]) and (not is_echo or data[:1] == bytes([_TYPES[self._way.six][1]])):
            sent = asked.open.pop(probe, None)
            if sent is not None:
                asked.answered(sender[0].partition("%")[0], came(beside) - sent)
                asked.reached = True
        return True
