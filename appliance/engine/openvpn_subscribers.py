"""Handing what happens to any number of readers, of whom none can hold up another."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Final, Self

from appliance.engine.openvpn_messages import Event
from appliance.engine.openvpn_status import Missed, Snapshot, Standing

Item = Event | Standing | Snapshot | Missed
QUEUE: Final = 1_000
"""Items that wait for a reader, by default: two seconds of 500 clients that are all heard of every second."""


class Subscription:
    """What one reader gets, oldest first: ``async for item in subscription``. Close it, or use it in a ``with``."""

    def __init__(self, among: set[Subscription], size: int) -> None:
        self._among, self._size = among, size
        self._waiting: deque[Item] = deque()
        self._missed = 0
        self._there = asyncio.Event()
        self._closed = False
        among.add(self)

    def put(self, item: Item) -> None:
        """Never waits: a reader that is behind loses its oldest item, and is told by a :class:`Missed`."""
        if len(self._waiting) >= self._size:
            self._waiting.popleft()
            self._missed += 1
        self._waiting.append(item)
        self._there.set()

    async def get(self) -> Item:
        """The next item; waits for it.

        :raises StopAsyncIteration: the subscription was closed.
        """
        while True:
            if self._missed:
                count, self._missed = self._missed, 0
                return Missed(count)
            if self._waiting:
                return self._waiting.popleft()
            if self._closed:
                raise StopAsyncIteration
            self._there.clear()
            await self._there.wait()

    def close(self) -> None:
        """End it; who waits hears of the end after what is still there."""
        self._closed = True
        self._among.discard(self)
        self._there.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        return await self.get()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
