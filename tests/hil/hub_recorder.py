"""Records what the engine tells the hub: its events, and snapshots at random moments between them.

A trace is a list of items in the order in which they came: ``["event", ms, lines]``, ``["answer", ms, lines]`` (to a
question about a channel) and ``["snapshot", ms, {part: [lines, …]}, first]``, where ``first`` is the index of the
first item that came after it was asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

from appliance.engine.ami_messages import Message
from appliance.engine.ami_stream import AmiSession
from appliance.hub.directory import Directory
from appliance.hub.engine_link import EngineLink
from appliance.hub.live import Live, Snapshot
from appliance.hub.run import engine_place
from appliance.run import web
from tests.hil.system import System

PARTS = ("channels", "contacts", "registrations", "settings")
LEFT_OUT = {"Privilege", "ActionID", "ChannelStateDesc", "DestChannelStateDesc", "Language", "DestLanguage", "Password"}
Trace = list[list[Any]]


def _lines(message: Message) -> list[list[str]]:
    return [[key, value] for key, value in message.lines if key not in LEFT_OUT]


class _RecordingLive(Live):
    trace: Trace
    first = 0

    def load(self, snapshot: Snapshot) -> None:
        parts = {part: [_lines(message) for message in getattr(snapshot, part)] for part in PARTS}
        self.trace.append(["snapshot", _ms(), parts, self.first])
        super().load(snapshot)

    def learn(self, message: Message) -> None:
        self.trace.append(["answer", _ms(), _lines(message)])
        super().learn(message)


class _RecordingLink(EngineLink):
    live: _RecordingLive

    def event(self, message: Message) -> None:
        self.live.trace.append(["event", _ms(), _lines(message)])
        super().event(message)

    async def _take_snapshot(self, session: AmiSession) -> None:
        self.live.first = len(self.live.trace)
        await super()._take_snapshot(session)

    async def snapshots(self) -> None:
        """At random moments, for ever."""
        while True:
            await asyncio.sleep(random.uniform(0.05, 0.6))
            if self._session is not None and self._held is None:
                await self._take_snapshot(self._session)


@contextlib.contextmanager
def recording(system: System, directory: Directory) -> Iterator[Trace]:
    """The trace, which grows until the end of the block."""
    web.make_places(system.paths)
    live = _RecordingLive(directory)
    live.trace = []
    place = dataclasses.replace(
        engine_place(system.paths, system.launcher.ami_port), network_namespace=system.host.namespace
    )
    link = _RecordingLink(place, live, lambda: None, lambda _: None)
    ready, stop = threading.Event(), threading.Event()

    async def work() -> None:
        tasks = [asyncio.create_task(link.run()), asyncio.create_task(link.snapshots())]
        while not stop.is_set():
            if live.trace:
                ready.set()
            await asyncio.sleep(0.02)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(work()), name="hub recorder")
    thread.start()
    try:
        assert ready.wait(10), "no snapshot came"
        yield live.trace
    finally:
        stop.set()
        thread.join()


def _ms() -> int:
    return time.time_ns() // 1_000_000
