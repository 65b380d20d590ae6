"""The browsers' end of the hub: who is connected, what each may see, and what goes out.

A browser that doesn't read is not waited for and nothing piles up for it: once :data:`BEHIND_BYTES` wait in its
connection, it gets nothing more, and fresh snapshots when it has read them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from appliance.hub.rooms import HUB, Entry, Rooms, frame, text
from appliance.hub.subject import Subject
from appliance.hub.wire import text_frame

_log = logging.getLogger("centralino.hub")

BEHIND_BYTES: Final = 256 * 1024
"""Bytes waiting in one connection at which its browser counts as slow."""
TOO_SLOW_S: Final = 30.0
"""A browser that reads nothing for so long is cut off: without a close code, which it wouldn't read either."""
HEARTBEAT_S: Final = 5.0
"""Pause between two heartbeats. A browser that has heard nothing for three of them should show that, and connect anew."""


class Browser:
    """One WebSocket. ``closing``: set with a close code when it is to end."""

    def __init__(self, transport: asyncio.WriteTransport, subject: Subject, session: str) -> None:
        self.transport, self.subject, self.session = transport, subject, session
        self.rooms: frozenset[str] = frozenset()
        self.behind_since: float | None = None
        self._snapshot_bytes = 0
        self._waited, self._took_some = 0, time.monotonic()
        self.closing: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def waiting(self) -> int:
        """Bytes that it hasn't taken yet."""
        return self.transport.get_write_buffer_size()

    @property
    def slow(self) -> bool:
        """Whether more waits than may; a snapshot that is on its way doesn't count, however large it is."""
        waiting = self.waiting
        if not waiting:
            self._snapshot_bytes = 0
        return waiting > BEHIND_BYTES + self._snapshot_bytes

    def idle_s(self, now: float) -> float:
        """Seconds for which it has taken nothing of what waits for it. To be asked often."""
        waiting = self.waiting
        if waiting == 0 or waiting < self._waited:
            self._took_some = now
        self._waited = waiting
        return now - self._took_some

    def send(self, payload: bytes, *, snapshot: bool = False) -> None:
        """Send one frame of JSON."""
        if not self.transport.is_closing():
            self.transport.write(text_frame(payload))
            if snapshot:
                self._snapshot_bytes = len(payload)

    def close(self, code: int) -> None:
        """End it with a close code."""
        if not self.closing.done():
            self.closing.set_result(code)


class Sockets:
    """All browsers."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self.stale = "not connected to the engine yet"
        self.since = _now()
        self.browsers: set[Browser] = set()

    def of_session(self, session: str) -> int:
        """How many sockets a session has."""
        return sum(browser.session == session for browser in self.browsers)

    # The conversation with one

    def subscribe(self, browser: Browser, rooms: Collection[str], epoch: str, seq: int) -> None:
        """It wants these rooms: what it missed since ``seq``, or snapshots of those that are new to it."""
        fresh = [room for room in rooms if room not in browser.rooms]
        browser.rooms = frozenset(rooms)
        missed = self.rooms.missed(browser.subject, rooms, epoch, seq) if epoch else None
        hello = self._hello(browser, resumed=missed is not None)
        if missed is None:
            missed = [self.rooms.snapshot(browser.subject, room) for room in fresh]
        if browser.slow:
            browser.behind_since = time.monotonic()
        else:
            browser.send(frame((hello, *missed)), snapshot=True)

    def start_over(self, browser: Browser) -> None:
        """Snapshots of all its rooms: deltas to it were left out, or it may see something else now."""
        shown = [self.rooms.snapshot(browser.subject, room) for room in sorted(browser.rooms)]
        browser.send(frame((self._hello(browser, resumed=False), *shown)), snapshot=True)

    def _hello(self, browser: Browser, *, resumed: bool) -> str:
        data = {
            "epoch": self.rooms.epoch(browser.subject),
            "resumed": resumed,
            "heartbeat_s": HEARTBEAT_S,
            "rooms": sorted(browser.rooms),
            **self._state(),
        }
        return text("hello", self.rooms.seq, HUB, data)

    # To all

    def publish(self, entries: Sequence[Entry]) -> None:
        """Deltas to everybody who may see them."""
        batch = self.rooms.batch(entries)
        for browser in self.browsers:
            if browser.behind_since is not None:
                continue
            if browser.slow:
                browser.behind_since = time.monotonic()
                continue
            if payload := batch.frame(browser.subject, browser.rooms):
                browser.send(payload)

    def tend_slow(self) -> None:
        """Begin anew with those who have caught up; cut off those who don't read at all. To be called often."""
        for browser in self.browsers:
            idle_s = browser.idle_s(time.monotonic())
            if browser.behind_since is not None and browser.waiting == 0:
                browser.behind_since = None
                self.start_over(browser)
            elif idle_s > TOO_SLOW_S:
                _log.info("%s reads nothing: cut off", browser.subject.account)
                browser.transport.abort()

    def set_standing(self, reason: str) -> None:
        """The state is right ("") or may be out of date (why)."""
        if (reason and self.stale) or reason == self.stale:
            self.stale = reason  # another attempt failed: no news
            return
        self.stale, self.since = reason, _now()
        self._tell(text("state", self.rooms.seq, HUB, self._state()))

    def heartbeat(self) -> None:
        """Tell everybody that we live, and what number we are at."""
        self._tell(text("heartbeat", self.rooms.seq, HUB, {"time": _now(), **self._state()}))

    def _tell(self, message: str) -> None:
        payload = frame((message,))
        for browser in self.browsers:
            if browser.behind_since is None and browser.rooms:
                browser.send(payload)

    def _state(self) -> Mapping[str, Any]:
        return {"state": "stale" if self.stale else "live", "reason": self.stale, "since": self.since}


def _now() -> int:
    return time.time_ns() // 1_000_000
