"""Each packet of a session is handed on once: the first copy of it (pure).

Numbers are looked at after the MAC only, so nobody else can use one up.
"""

from __future__ import annotations

from array import array
from typing import Final

SIZE: Final = 16384
"""Packets that may come after a later one. Must be what the busiest branch sends while the slowest path is behind the fastest: 5,000 a second for
over three seconds."""
_LOW: Final = 0xFFFFFFFF


class Window:
    """Which numbers have come, of the last :data:`SIZE` ones. Numbers begin at 1.

    :param size: a power of two, 2 or more.
    """

    __slots__ = ("_mask", "_size", "_slots", "highest")

    def __init__(self, size: int = SIZE, highest: int = 0) -> None:
        if size & (size - 1) or size < 2:
            msg = f"{size} isn't a power of two, 2 or more"
            raise ValueError(msg)
        self._size, self._mask = size, size - 1
        self._slots = array("I", range(1, size + 1))  # each is what its slot never holds
        self.highest = highest
        """The largest that has come. One that is restored stands for all before it: none of those is taken again."""
        if highest:
            for number in range(max(1, highest - size + 1), highest + 1):
                self._slots[number & self._mask] = number & _LOW

    def fresh(self, number: int) -> bool:
        """Whether this one hasn't come yet. A number too far back counts as having come."""
        return number > self.highest - self._size and number > 0 and self._slots[number & self._mask] != number & _LOW

    def take(self, number: int) -> bool:
        """Whether this one is new, which it then no longer is."""
        slot = number & self._mask
        if number <= self.highest - self._size or number <= 0 or self._slots[slot] == number & _LOW:
            return False
        self._slots[slot] = number & _LOW
        self.highest = max(self.highest, number)
        return True
