"""The engine's end of the hub: connection → snapshot and events → live state."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Final

from appliance.core.errors import CentralinoError, UnavailableError
from appliance.engine.ami_messages import Message
from appliance.engine.ami_stream import AmiSession, AmiStream, Place
from appliance.hub.live import EVENTS, SETTINGS, VARIABLES, Live, Snapshot

_log = logging.getLogger("centralino.hub")

HELD_MAX: Final = 100_000
"""Events that may come while a snapshot is taken; more than that, and it is taken again."""
LOOK_AGAIN_S: Final = 300.0
"""Pause between two looks at the engine whether it is as its events said."""
SETTLE_S: Final = 0.5
"""Pause between the engine's word that it has read its configuration again and the look at what is different."""
_RELOADED: Final = ("res_pjsip.so", "pbx_config.so")


class EngineLink:
    """Keeps ``live`` as the engine is.

    :param changed: called when ``live`` may be different, often.
    :param standing: called with "" when the state is known to be right, with a reason when it isn't any more.
    """

    def __init__(self, place: Place, live: Live, changed: Callable[[], None], standing: Callable[[str], None]) -> None:
        self.live = live
        self._changed, self._standing = changed, standing
        self._session: AmiSession | None = None
        self._held: list[Message] | None = None
        self._stream = AmiStream(place, self, events="system,call,user", only=EVENTS)
        self._tasks: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()

    async def run(self) -> None:
        """Until it is cancelled."""
        looking = asyncio.create_task(self._look_again())
        try:
            await self._stream.run()
        finally:
            for task in (looking, *self._tasks):
                task.cancel()
            await asyncio.gather(looking, *self._tasks, return_exceptions=True)

    @property
    def session(self) -> AmiSession:
        """The connection to the engine. Raises UnavailableError: there is none now."""
        if self._session is None:
            raise UnavailableError(
                "the engine can't be reached",
                "calls that are up go on; try again in a moment",
                error_id="engine_unreachable",
            )
        return self._session

    # What the stream tells

    async def connected(self, session: AmiSession) -> None:
        """Begin with a snapshot."""
        self._session = session
        await self._take_snapshot(session)
        _log.info("the engine is connected: %d channels", len(self.live.channels.all))
        self._standing("")

    def event(self, message: Message) -> None:
        """Take an event, or keep it while a snapshot is being taken."""
        if self._held is not None:
            if len(self._held) >= HELD_MAX:
                raise UnavailableError("too many events during a snapshot", error_id="ami_protocol")
            self._held.append(message)
            return
        self._feed(message)
        self._changed()

    def lost(self, reason: str) -> None:
        """Nothing is known for sure from now on."""
        if self._session is not None:
            _log.warning("the engine is lost: %s", reason)
        self._session, self._held = None, None
        self._standing(reason)

    def _feed(self, message: Message) -> None:
        self.live.feed(message, _now())
        if self.live.questions:
            names, self.live.questions = self.live.questions, set()
            self._spawn(self._ask(names))
        if message.event == "Reload" and message.get("Module") in _RELOADED:
            self._look.set()

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What the engine is asked

    async def _take_snapshot(self, session: AmiSession) -> None:
        """Events that come meanwhile are applied after it. What it tells of before them, they tell once more."""
        self._held = []
        try:
            channels = await session.list("Status", {"Variables": VARIABLES})
            contacts = await session.list("PJSIPShowContacts")
            registrations = await session.list("PJSIPShowRegistrationsOutbound")
            settings = [row for family in SETTINGS for row in await session.list("DBGetTree", {"Family": family})]
            self.live.load(Snapshot(channels, contacts, registrations, settings))
        finally:
            held, self._held = self._held or [], None
        for message in held:
            self._feed(message)
        self._changed()

    async def _ask(self, names: set[str]) -> None:
        """Ask about channels; one that is gone meanwhile is no trouble."""
        for name in names:
            session = self._session
            if session is None:
                return
            with contextlib.suppress(CentralinoError):
                for row in await session.list("Status", {"Channel": name, "Variables": VARIABLES}):
                    self.live.learn(row)
        self._changed()

    async def _look_again(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_S):
                    await self._look.wait()
                await asyncio.sleep(SETTLE_S)
            self._look.clear()
            session = self._session
            if session is None or self._held is not None:
                continue
            try:
                await self._take_snapshot(session)
            except (CentralinoError, OSError) as error:
                session.close(str(error))


def _now() -> int:
    return time.time_ns() // 1_000_000
