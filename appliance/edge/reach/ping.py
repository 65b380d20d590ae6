"""Whether a host answers, how fast, how evenly: ICMP echoes by a socket that needs no privilege (icmp(7), RFC 792, RFC 4443 section 4).

The kernel notes when an answer came, so a busy machine measures no more than there is.

What happens when…

* an answer comes from somebody else, or to nothing that was asked: it is ignored, by eight random octets in each echo;
* a router says that it can't go on: that echo is lost, and what the router says is told;
* nothing can be sent: the same, in the kernel's words;
* the kernel keeps this user from it: :class:`UnavailableError` ``ping_not_permitted``.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import select
import socket
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from appliance.core.errors import Fault, InvalidError
from appliance.edge.reach.reports import ERROR4, ERROR6, report_in
from appliance.edge.reach.way import Way, in_words, said_by
from appliance.vpn.echoes import came, echo

COUNT: Final = 5
COUNT_MAX: Final = 100
EVERY_S: Final = 0.2
TIMEOUT_S: Final = 1.0
_TYPES: Final = {False: (8, 0), True: (128, 129)}
"""IPv6 or not → types of question and answer."""
_NUMBER, _TOKEN = slice(6, 8), slice(8, 16)
"""Where they stand in an echo."""


@dataclass(frozen=True, slots=True)
class Echo:
    """One echo. ``rtt_ms``: None: no answer in time; ``said``: why, as far as somebody told."""

    number: int
    rtt_ms: float | None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Pinged:
    """All echoes together; times in ms, None: nothing to say.

    :param loss: share of what was tried, 0 to 1. :param jitter_ms: mean difference of answers that follow each other.
    """

    sent: int
    received: int
    loss: float
    min_ms: float | None
    mean_ms: float | None
    max_ms: float | None
    jitter_ms: float | None
    said: str = ""


def summed(echoes: Iterable[Echo]) -> Pinged:
    """Figures of echoes, in whatever order they became known (pure)."""
    known = sorted(echoes, key=lambda each: each.number)
    trips = [each.rtt_ms for each in known if each.rtt_ms is not None]
    steps = [abs(after - before) for before, after in itertools.pairwise(trips)]
    said = next((each.said for each in reversed(known) if each.said), "")
    return Pinged(
        sent=len(known), received=len(trips), loss=1 - len(trips) / len(known) if known else 0.0,
        min_ms=min(trips, default=None), mean_ms=statistics.fmean(trips) if trips else None, max_ms=max(trips, default=None),
        jitter_ms=statistics.fmean(steps) if steps else None, said=said,
    )  # fmt: skip


def ping(way: Way, count: int = COUNT, every_s: float = EVERY_S, timeout_s: float = TIMEOUT_S) -> Iterator[Echo]:
    """Echoes, each as soon as its fate is known.

    :raises UnavailableError: ``ping_not_permitted``. :raises NotFoundError: ``no_device``. :raises InvalidError: ``bad_count``.
    """
    if not 1 <= count <= COUNT_MAX:
        fault = Fault("count", f"{count} echoes are too few or too many", "1 to 100", "bad_count")
        raise InvalidError([fault])
    with contextlib.closing(_Pinging(way, timeout_s)) as pinging:
        due, numbers = time.monotonic(), iter(range(1, count + 1))
        number = next(numbers, None)
        while number is not None or pinging.waiting:
            if number is not None and time.monotonic() >= due:
                yield from pinging.send(number)
                due, number = due + every_s, next(numbers, None)
            yield from pinging.read(due if number is not None else None)


class _Pinging:
    """One socket, and what is under way."""

    def __init__(self, way: Way, timeout_s: float) -> None:
        self._way, self._timeout_s = way, timeout_s
        self._socket = way.ping_socket()
        level, option = ERROR6 if way.six else ERROR4
        self._socket.setsockopt(level, option, 1)
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._sent: dict[bytes, tuple[int, float]] = {}

    @property
    def waiting(self) -> bool:
        """Whether the fate of an echo isn't known."""
        return bool(self._sent)

    def close(self) -> None:
        self._socket.close()

    def send(self, number: int) -> Iterator[Echo]:
        """One more. What the kernel refuses is known at once."""
        token = secrets.token_bytes(8)
        packet = echo(_TYPES[self._way.six][0], 0, number, token)
        for last in (False, True):
            sent = time.monotonic()
            try:
                self._socket.sendto(packet, self._way.to())
            except OSError as error:
                yield from self._reported()
                if last:  # the first may have been about an echo before
                    yield Echo(number, None, in_words(error))
            else:
                self._sent[token] = (number, sent)
                return

    def read(self, until: float | None) -> Iterator[Echo]:
        """What is known by then, or within the time that the first of those under way has left."""
        now = time.monotonic()
        ends = [sent + self._timeout_s for _number, sent in itertools.islice(self._sent.values(), 1)]
        ends += [until] if until is not None else []
        if self._poll.poll(max(0.0, min(ends, default=now) - now) * 1000 + 1):
            yield from self._reported()
            yield from self._answered()
        yield from self._lost()

    def _answered(self) -> Iterator[Echo]:
        while True:
            try:
                data, beside, _flags, sender = self._socket.recvmsg(256, 256)
            except BlockingIOError:
                return
            except OSError:
                continue  # it was in the queue of errors too
            found = self._sent.get(data[_TOKEN])
            if found is None or data[0] != _TYPES[self._way.six][1] or not self._way.is_it(sender[0]):
                continue
            trip = came(beside) - found[1]
            if trip <= self._timeout_s:
                del self._sent[data[_TOKEN]]
                yield Echo(found[0], max(0.0, trip) * 1000)

    def _reported(self) -> Iterator[Echo]:
        while True:
            try:
                data, beside, _flags, _to = self._socket.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            report = report_in(beside)
            # Some routers send back no more than the header (RFC 792), so it is known by its number.
            number = int.from_bytes(data[_NUMBER], "big")
            token = next((each for each, (known, _sent) in self._sent.items() if known == number), None)
            if token is not None and report is not None:
                del self._sent[token]
                yield Echo(number, None, said_by(report))

    def _lost(self) -> Iterator[Echo]:
        now = time.monotonic()
        for token, (number, sent) in list(self._sent.items()):
            if now - sent > self._timeout_s:
                del self._sent[token]
                yield Echo(number, None)
