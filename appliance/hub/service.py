"""The hub's work besides the sockets: gathers changes, follows the document, remembers over its own death."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from appliance.core.errors import CentralinoError, UnavailableError
from appliance.engine.ami_stream import Place
from appliance.hub import tunnels
from appliance.hub.directory import Directory
from appliance.hub.engine_link import EngineLink
from appliance.hub.live import Live
from appliance.hub.rooms import Entry, Rooms
from appliance.hub.sockets import HEARTBEAT_S, Sockets
from appliance.hub.subject import Visible

_log = logging.getLogger("centralino.hub")

GATHER_S: Final = 0.025
"""Changes within this span go out together, as the last of them left things."""
FOLLOW_S: Final = 1.0
"""Pause between two looks for another revision of the document, for alarms, and at what is to be remembered."""

ASK_TUNNELS_S: Final = 2.0
"""Pause between two looks at the voice VPN's branches."""
GIVE_UP_S: Final = 20.0
"""The voice VPN's process may be silent for so long, while it is started anew, before what it said last counts no more."""

Alarms = Sequence[dict[str, Any]]


class Hub:
    """Live state from the engine to all browsers.

    :param read_directory: given the revision that is known (None: none yet), the directory of another one, or None. Called
        in a thread; so is ``read_alarms``: objects with at least an ``id``.
    :param ask_tunnels: what the voice VPN's process says, see :func:`appliance.vpn.asking.told`; in a thread too. None: it doesn't
        run here.
    :param memory: file for what no snapshot of the engine can tell.
    """

    def __init__(
        self,
        place: Place,
        visible: Visible,
        read_directory: Callable[[int | None], Directory | None],
        read_alarms: Callable[[], Alarms] = lambda: (),
        memory: Path | None = None,
        ask_tunnels: Callable[[], dict[str, Any]] | None = None,
    ) -> None:
        self.live = Live()
        self.rooms = Rooms(secrets.token_hex(8), visible)
        self.sockets = Sockets(self.rooms)
        self.link = EngineLink(place, self.live, self._notice, self._standing)
        self._read_directory, self._read_alarms, self._memory = read_directory, read_alarms, memory
        self._news = asyncio.Event()
        self._revision: int | None = None
        self._remembered: dict[str, int] = {}
        self._ask_tunnels = ask_tunnels
        self._tunnels: tunnels.Told | None = None
        self._tunnels_heard = time.monotonic()
        self._tunnel_alarms = tunnels.Alarms()
        self._alarms: set[str] = set()
        self._branches: set[str] = set()
        self._failing = ""

    async def run(self) -> None:
        """Until it is cancelled."""
        if self._memory is not None:
            self._remembered = await asyncio.to_thread(_read_memory, self._memory)
            self.live.recall(self._remembered)
        await self._follow()
        work: list[Coroutine[Any, Any, None]] = [
            self.link.run(), self._gather_for_ever(), self._beat_for_ever(), self._follow_for_ever(),
            self._ask_for_ever(),
        ]  # fmt: skip
        try:
            async with asyncio.TaskGroup() as group:
                for each in work:
                    group.create_task(each)
        finally:
            await asyncio.shield(self._remember())

    def _notice(self) -> None:
        self._news.set()

    def _standing(self, reason: str) -> None:
        if not reason:
            self.gather()  # what is different after the loss comes before the word that it is right again
        self.sockets.set_standing(reason)

    async def _gather_for_ever(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHER_S)
            self._news.clear()
            self.gather()

    def gather(self) -> None:
        """Send out what has changed."""
        entries: list[Entry] = []
        changes = self.live.changes()
        happened, self.live.happened = self.live.happened, []
        entries += [self.rooms.happen(type, data) for type, data in happened]
        found = (self.rooms.put(change.kind, change.id, change.data) for change in changes)
        entries += [entry for entry in found if entry is not None]
        if entries:
            self.sockets.publish(entries)

    async def _beat_for_ever(self) -> None:
        beats = 10
        while True:
            for _ in range(beats):
                await asyncio.sleep(HEARTBEAT_S / beats)
                self.sockets.tend_slow()
            self.sockets.heartbeat()

    async def _follow_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_S)
            await self._follow()
            await self._remember()

    async def _follow(self) -> None:
        """Another revision, other alarms. What can't be read now is read later; said once."""
        try:
            found = await asyncio.to_thread(self._read_directory, self._revision)
            alarms = await asyncio.to_thread(self._read_alarms)
        except (CentralinoError, OSError) as error:
            if str(error) != self._failing:
                self._failing = str(error)
                _log.error("%s (%s)", error, getattr(error, "hint", ""))
            return
        self._failing = ""
        if found is not None:
            self._revision = found.revision
            self.live.use(found)
            self._notice()
        told = {str(alarm["id"]): alarm for alarm in (*alarms, *self._faults_of_tunnels())}
        entries = [self.rooms.put("alarm", id, told.get(id)) for id in sorted(self._alarms | set(told))]
        self._alarms = set(told)
        if fresh := [entry for entry in entries if entry is not None]:
            self.sockets.publish(fresh)

    # The voice VPN

    async def _ask_for_ever(self) -> None:
        while True:
            await self._look_at_tunnels()
            await asyncio.sleep(ASK_TUNNELS_S)

    async def _look_at_tunnels(self) -> None:
        """How branches stand."""
        if self._ask_tunnels is not None:
            try:
                self._tunnels = tunnels.checked(await asyncio.to_thread(self._ask_tunnels))
                self._tunnels_heard = time.monotonic()
            except UnavailableError:
                if time.monotonic() - self._tunnels_heard > GIVE_UP_S:
                    self._tunnels = None
        told = tunnels.branches(self.live.directory.branches.values(), self._tunnels)
        entries = [self.rooms.put("branch", id, told.get(id)) for id in sorted(self._branches | set(told))]
        self._branches = set(told)
        if fresh := [entry for entry in entries if entry is not None]:
            self.sockets.publish(fresh)

    def _faults_of_tunnels(self) -> Alarms:
        """What isn't well with them; nothing at first, and where there are none."""
        silent = self._tunnels is None and time.monotonic() - self._tunnels_heard <= GIVE_UP_S
        if self._ask_tunnels is None or silent:
            return ()
        wanted = any(each.enabled for each in self.live.directory.branches.values())
        found = tunnels.faults(self._tunnels) if wanted or self._tunnels is not None else {}
        return self._tunnel_alarms.of(found, int(time.time() * 1000))

    async def _remember(self) -> None:
        """A hub that is killed forgets what it has seen in the last second at most."""
        if self._memory is None or self.sockets.stale:
            return
        memory = self.live.memory()
        if memory != self._remembered:
            self._remembered = memory
            try:
                await asyncio.to_thread(_write_memory, self._memory, memory)
            except OSError as error:
                _log.error("%s can't be written: %s", self._memory, error.strerror)


def _read_memory(file: Path) -> dict[str, int]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        found = json.loads(file.read_text())
        if isinstance(found, dict) and all(isinstance(value, int) for value in found.values()):
            return found
    return {}


def _write_memory(file: Path, memory: dict[str, int]) -> None:
    fresh = file.with_name(file.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(memory))
    fresh.replace(file)
