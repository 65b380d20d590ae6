"""Answers of the judge of bans, as JSON values; see :mod:`~appliance.firewall.bans.asking`. No I/O but the kernel's counters."""

from __future__ import annotations

import heapq
import ipaddress
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from appliance.core.errors import CentralinoError
from appliance.firewall import kernel as rules
from appliance.firewall.bans import kernel as sets
from appliance.firewall.bans.asking import LIMIT, LIMIT_MAX, SHARED_FORMAT, SHARED_MAX
from appliance.firewall.bans.model import Ban, Network
from appliance.firewall.bans.sets import COUNTERS

COUNTED_S: Final = 1.0
"""Seconds that counters are good for: whoever asks all day long doesn't start ``nft`` each time."""


def listed(bans: Iterable[Ban], now: int, question: Mapping[str, Any]) -> dict[str, Any]:
    """``bans`` and ``count`` of an answer."""
    search, limit = question.get("search", ""), question.get("limit", LIMIT)
    search = search if isinstance(search, str) else ""
    limit = min(max(1, limit), LIMIT_MAX) if isinstance(limit, int) else LIMIT
    found = [ban for ban in bans if ban.left(now) and _is_meant(ban.network, search.strip())]
    newest = heapq.nlargest(limit, found, key=lambda ban: (ban.since, str(ban.network)))
    return {"bans": [row(ban, now) for ban in newest], "count": len(found)}


def shared(bans: Iterable[Ban], now: int, wall: int) -> dict[str, Any]:
    """What edges are given. ``now``: running time; ``wall``: the clock's, ms since the epoch."""
    lasting = (ban for ban in bans if not ban.quarantine and not ban.brief and ban.left(now))
    given = sorted(
        heapq.nlargest(SHARED_MAX, lasting, key=lambda ban: (ban.until, str(ban.network))),
        key=lambda ban: (ban.network.version, int(ban.network.network_address), ban.network.prefixlen),
    )
    return {
        "format": SHARED_FORMAT,
        "bans": [{"network": str(ban.network), "until": _minute(wall + ban.left(now))} for ban in given],
    }


def _minute(wall: int) -> int:
    """The next whole minute, s since the epoch: so the same bans are the same list, whenever it is asked for."""
    return -(-wall // 60_000) * 60


def row(ban: Ban, now: int) -> dict[str, Any]:
    """One ban."""
    return {
        "network": str(ban.network),
        "since": ban.wall,
        "left": -(-ban.left(now) // 1000),
        "reason": ban.reason.value,
        "words": ban.words,
        "strike": ban.strike,
        "attempts": ban.attempts,
        "quarantine": ban.quarantine,
        "brief": ban.brief,
        "evidence": [
            [one.wall, one.address, one.service.value, int(one.outcome), one.account, one.detail]
            for one in ban.evidence
        ],
    }


def _is_meant(network: Network, search: str) -> bool:
    if not search:
        return True
    try:
        wanted = ipaddress.ip_network(search, strict=False)
    except ValueError:
        return str(network).startswith(search.lower())
    return wanted.version == network.version and wanted.overlaps(network)


class Counters:
    """The counters of both tables. Not for several threads."""

    def __init__(self, network_namespace: str | None) -> None:
        self._rules, self._sets = rules.Kernel(network_namespace), sets.Kernel(None, network_namespace)
        self._read: list[list[Any]] = []
        self._until = 0.0

    def rows(self) -> list[list[Any]]:
        """Name, label, packets, bytes of each; none when the kernel can't be asked."""
        if time.monotonic() >= self._until:
            try:
                self._read = [[one.name, one.label, one.packets, one.bytes] for one in self._rules.counters()]
                counted = self._sets.counters()
                self._read += [
                    [name, label, counted[name], None] for name, label in COUNTERS.items() if name in counted
                ]
            except CentralinoError:
                self._read = []
            self._until = time.monotonic() + COUNTED_S
        return self._read
