"""What each line has carried in this month, both ways, as its provider counts it: with the headers of IP and UDP.

What happens when…

* it is killed: what came since it was last written down, half a minute ago at most, is not counted;
* the machine's clock is wrong: months are told by whoever starts the relay, and only if they are sure; as long as nobody tells one, the month goes on;
* the file is garbage, or can't be written: it counts from what it knows, and tries again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

KEPT_S: Final = 30.0
HEADERS: Final = 28
"""IPv4 (RFC 791) and UDP (RFC 768); by IPv6 there are twenty more."""
_SIX: Final = 16
"""Octets of an address as the kernel takes it (``sockaddr_in``); IPv6's are longer."""


class _Datagram(Protocol):
    @property
    def data(self) -> bytes: ...
    @property
    def address(self) -> bytes: ...


class Carried:
    """See this module. ``file``: outlives the machine."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._month = ""
        self._octets: dict[int, int] = {}
        self._kept_at = float("-inf")
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            found = json.loads(file.read_bytes())
            self._octets = {int(line): int(octets) for line, octets in found["lines"].items()}
            self._month = str(found["month"])

    def month(self, month: str | None) -> None:
        """The month that it is; another one than before begins at nothing. None: nobody knows."""
        if month is not None and month != self._month:
            if self._month:
                self._octets.clear()
            self._month = month

    def of(self, line: int) -> int:
        """Octets of a line."""
        return self._octets.get(line, 0)

    def add(self, line: int, datagrams: Iterable[_Datagram]) -> None:
        """They went by it, or came."""
        octets = self._octets.get(line, 0)
        for each in datagrams:
            octets += len(each.data) + HEADERS + (20 if len(each.address) > _SIX else 0)
        self._octets[line] = octets

    def keep(self, now: float) -> None:
        """Write it down, if it is time."""
        if now - self._kept_at < KEPT_S:
            return
        self._kept_at = now
        fresh = self._file.with_name(f".{self._file.name}.new")
        with contextlib.suppress(OSError):
            fresh.write_text(json.dumps({"month": self._month, "lines": self._octets}))
            fresh.replace(self._file)
