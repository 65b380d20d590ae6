"""Packets longer than a path takes go over it in two pieces, and are put together before they are handed on (pure).

So nothing above has to know of a path's size: no packet too big for the backup is lost while senders learn of it, and the tunnel's MTU stays as it is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

WAITING: Final = 64
"""Halves that wait for their other ones, of one session."""
WAIT_S: Final = 1.0


def cut(payload: bytes, room: int) -> tuple[bytes, bytes] | None:
    """The two pieces; None: not even two are short enough."""
    if len(payload) > 2 * room:
        return None
    middle = (len(payload) + 1) // 2
    return payload[:middle], payload[middle:]


class Pieces:
    """Halves of one session by the packet's number."""

    def __init__(self) -> None:
        self._halves: OrderedDict[int, tuple[float, bool, bytes]] = OrderedDict()

    def add(self, number: int, last: bool, piece: bytes, now: float) -> bytes | None:
        """The whole packet, if the other half is there."""
        there = self._halves.get(number)
        if there is not None and there[1] != last:
            del self._halves[number]
            return there[2] + piece if last else piece + there[2]
        self._halves[number] = (now, last, piece)
        while len(self._halves) > WAITING or next(iter(self._halves.values()))[0] < now - WAIT_S:
            self._halves.popitem(last=False)
        return None
