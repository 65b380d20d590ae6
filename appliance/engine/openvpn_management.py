"""Client of OpenVPN's management interface, for asyncio: one connection that is made again for ever, for many readers.

OpenVPN serves one connection at a time. :class:`Management` holds it for as long as :meth:`Management.run` runs, sends
the commands of all readers one after another, and hands events to every subscriber. What it knows of the clients is read
whole after each new connection, after each event that may have changed it, and every ``refresh_s``: events are hints, the
status is the truth. While the daemon is gone nothing is known of its clients, and nothing is claimed.

Source: ``doc/management-notes.txt`` of OpenVPN 2.6; the configuration that it needs: :func:`management_lines`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from appliance.core.errors import CorruptError, Fault, InvalidError, UnavailableError
from appliance.engine.openvpn_messages import ClientStep, Event, Fatal, Hold, State
from appliance.engine.openvpn_session import (
    CommandRefusedError,
    Session,
    check_path,
    management_lines,
    trouble,
)
from appliance.engine.openvpn_status import (
    ClientSession,
    Snapshot,
    Standing,
    Status,
    Traffic,
    Version,
    parse_pairs,
    parse_states,
    parse_status,
    parse_version,
)
from appliance.engine.openvpn_subscribers import QUEUE, Item, Subscription

__all__ = ["CommandRefusedError", "Item", "Management", "Subscription", "management_lines"]
T = TypeVar("T")
_log = logging.getLogger("centralino.openvpn")

BACKOFF_S: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses before the next attempts to connect; the last one for ever."""
GREETING_S: Final = 1.0
"""Time for the greeting; after that it is told that the slot is taken, and waited for our turn …"""
TURN_S: Final = 10.0
"""… for this long, in case the socket isn't the daemon's any more."""
TOLD_S: Final = 0.2
"""Time that the daemon gets to tell a client that it is cut off; a client waits for a second before it comes again."""
NAME_MAX: Final = 127
"""Bytes of a common name that ``kill`` takes (``man_kill``)."""
REFRESH_S: Final = 2.0
REFRESH_PAUSE_S: Final = 0.25
"""The least time between two readings of the status that events ask for; three times what one took, when that is more."""


class Management:
    """The one owner of a daemon's management socket.

    :param path: the Unix socket.
    :param refresh_s: seconds between two readings of the status.
    :param bytecount_s: seconds between two :class:`ByteCount` of one client; 0: none.
    :raises InvalidError: ``vpn_management_socket``.
    """

    def __init__(self, path: Path, *, refresh_s: float = REFRESH_S, bytecount_s: int = 1) -> None:
        check_path(path)
        self.path = path
        self._refresh_s, self._bytecount_s = refresh_s, bytecount_s
        self._subscriptions: set[Subscription] = set()
        self._session: Session | None = None
        self._snapshot: Snapshot | None = None
        self._standing = Standing("gone", time.time(), _unconnected(path))
        self._moved = asyncio.Event()
        self._changed = asyncio.Event()
        self._fatal, self._held = "", False
        self._version = Version("", 0)
        self._pid = 0
        self._state: State | None = None
        self._refreshing: asyncio.Task[Snapshot] | None = None
        self._took_s = 0.0

    # How it stands

    @property
    def standing(self) -> Standing:
        """Whether the daemon answers, and if not, why."""
        return self._standing

    @property
    def snapshot(self) -> Snapshot | None:
        """What was known last, ``refresh_s`` old at most; ``None`` while the daemon doesn't answer."""
        return self._snapshot

    def subscribe(self, size: int = QUEUE) -> Subscription:
        """Events, standings and snapshots from now on, begun by how it stands; see :class:`Subscription`.

        :param size: items that may wait; the oldest are lost, and told as :class:`Missed`.
        """
        subscription = Subscription(self._subscriptions, size)
        subscription.put(self._standing)
        if self._snapshot:
            subscription.put(self._snapshot)
        return subscription

    async def up(self, timeout_s: float) -> None:
        """Wait until the daemon answers.

        :raises UnavailableError: it doesn't, and why.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._standing.kind == "gone":
                    self._moved.clear()
                    await self._moved.wait()
        self._connected()

    # Commands. Each raises UnavailableError while the daemon doesn't answer, CommandRefusedError when it refuses.

    async def clients(self) -> tuple[ClientSession, ...]:
        """Who is connected, as the daemon says now."""
        return (await self.refresh()).clients

    async def refresh(self) -> Snapshot:
        """Read the status now. Readers that ask at the same time share one reading."""
        session = self._connected()
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._read_again(session))
            self._refreshing.add_done_callback(self._refreshed)
        return await asyncio.shield(self._refreshing)

    async def state(self) -> State | None:
        """The daemon's own state; ``None``: it has just begun."""
        session = self._connected()
        return self._parsed(session, parse_states, await session.rows("state"))

    async def traffic(self) -> Traffic:
        """Totals of the daemon since its start (of its clients: ``received``, ``sent`` in :meth:`clients`)."""
        session = self._connected()
        said = await session.one("load-stats")
        return Traffic(*self._parsed(session, parse_pairs, said, "nclients", "bytesin", "bytesout"))

    async def version(self) -> Version:
        """What runs there."""
        session = self._connected()
        return self._parsed(session, parse_version, await session.rows("version"))

    async def kill(self, cid: int, *, message: Literal["RESTART", "HALT"] = "RESTART") -> None:
        """End one client by telling it: it connects again at once (``RESTART``), or its program ends (``HALT``).

        OpenVPN closes the session for its part five seconds later, or when the client is back.

        :raises CommandRefusedError: there is no such client.
        """
        await self._connected().one("client-kill", str(cid), message)
        self._changed.set()

    async def kill_common_name(self, common_name: str) -> int:
        """Cut off every client of a certificate at once; how many there were. For one that was revoked.

        They are told to connect again, so that they don't send into nothing until their time-out, and closed here
        :data:`TOLD_S` later, without waiting for what they make of it: nothing of theirs gets through any more when this
        returns.

        :raises InvalidError: ``vpn_command``: a name that OpenVPN would take for an address, or cut.
        """
        if ":" in common_name or not 0 < len(common_name.encode()) <= NAME_MAX:
            message = f"a common name of 1 to {NAME_MAX} bytes without a colon is wanted"
            raise InvalidError([Fault("openvpn/kill", message, error_id="vpn_command")])
        found = [client.cid for client in await self.clients() if client.common_name == common_name]
        for cid in found:
            with contextlib.suppress(CommandRefusedError):
                await self.kill(cid)
        if found:  # closing at once would drop the word that is about to be sent
            await asyncio.sleep(TOLD_S)
        try:
            said = await self._connected().one("kill", common_name)
        except CommandRefusedError as error:
            if "not found" in error.said:
                return 0
            raise
        finally:
            self._changed.set()
        digits = [word for word in said.rpartition(",")[2].split() if word.isdigit()]
        return int(digits[0]) if digits else 1

    async def release_hold(self) -> None:
        """Let a daemon go on that waits for it. Ours never do (:func:`management_lines`); a foreign one may."""
        await self._connected().one("hold", "release")
        self._held = False
        self._changed.set()

    async def signal(self, name: Literal["SIGUSR1", "SIGHUP", "SIGTERM"]) -> None:
        """``SIGUSR1``: drop all clients and begin anew; ``SIGHUP``: read the configuration too; ``SIGTERM``: end."""
        await self._connected().one("signal", name)
        self._changed.set()

    # The connection

    async def run(self) -> None:
        """Connect, listen, connect again; ends by cancellation only."""
        failures = 0
        while True:
            try:
                await self._once()
            except UnavailableError as error:
                reason = error
            except CommandRefusedError as error:
                reason = trouble("garbled", self.path, error.message)
            except Exception as error:  # a mistake of ours; the next connection begins with everything  # noqa: BLE001
                _log.exception("while listening to %s", self.path)
                reason = trouble("gone", self.path, type(error).__name__)
            failures = failures + 1 if self._standing.kind == "gone" else 0
            self._lose(reason)
            await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])

    async def _once(self) -> None:
        self._held, self._state = False, None
        session = await Session.connect(self.path, self._event)
        reading = asyncio.create_task(session.read())
        try:
            await self._wait_for_turn(session)
            self._fatal = ""
            await self._begin(session)
            while True:  # until a reading fails, as it does when the connection has ended
                await self._until_changed(reading)
                await self.refresh()
        finally:
            self._session = self._refreshing = None
            session.close(_unconnected(self.path))
            reading.cancel()
            (ended,) = await asyncio.gather(reading, return_exceptions=True)
            if isinstance(ended, Exception):
                _log.error("while reading from %s", self.path, exc_info=ended)
            await session.closed()

    async def _wait_for_turn(self, session: Session) -> None:
        if await session.greeted(GREETING_S):
            return
        error = trouble("busy", self.path)
        self._lose(error)
        if not await session.greeted(TURN_S):
            raise error

    async def _begin(self, session: Session) -> None:
        """Read everything, then say that the daemon is there."""
        self._changed.clear()
        version, pid = await session.rows("version"), await session.one("pid")
        self._version = self._parsed(session, parse_version, version)
        (self._pid,) = self._parsed(session, parse_pairs, pid, "pid")
        await session.one("state", "on")
        state = self._parsed(session, parse_states, await session.rows("state"))
        self._state = max((each for each in (state, self._state) if each), key=lambda each: each.at, default=None)
        if self._bytecount_s:
            await session.one("bytecount", str(self._bytecount_s))
        self._session = session
        try:
            await self.refresh()
        except BaseException:
            self._session = None
            raise

    async def _until_changed(self, reading: asyncio.Task[None]) -> None:
        changed = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait([reading, changed], timeout=self._refresh_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
        if not reading.done():
            await asyncio.wait([reading], timeout=max(REFRESH_PAUSE_S, 3 * self._took_s))

    async def _read_again(self, session: Session) -> Snapshot:
        began = time.monotonic()
        try:
            rows = await session.rows("status", "3", begun=self._refresh_begun)
            status = self._parsed(session, parse_status, rows)
        except CommandRefusedError:  # it isn't serving yet: held, or just beginning
            status = Status(int(time.time()), "")
        self._took_s = time.monotonic() - began
        snapshot = Snapshot(time.time(), self._version, self._pid, self._state, status)
        if self._session is session:
            self._snapshot = snapshot
            self._answers()
            self._publish(snapshot)
        return snapshot

    def _refresh_begun(self) -> None:
        # What changes from now on may not be in the answer: whoever asks next gets a reading of his own.
        self._refreshing = None
        self._changed.clear()

    def _refreshed(self, task: asyncio.Task[Snapshot]) -> None:
        if self._refreshing is task:
            self._refreshing = None
        if not task.cancelled():
            task.exception()  # whoever waits for it has got it; perhaps nobody waits any more

    def _parsed(self, session: Session, parse: Callable[..., T], *said: Any) -> T:
        try:
            return parse(*said)
        except CorruptError as error:
            garbled = trouble("garbled", self.path, error.message)
            session.close(garbled)
            raise garbled from error

    def _event(self, event: Event) -> None:
        if isinstance(event, Hold):
            self._held = True
            self._answers()
        elif isinstance(event, Fatal):
            self._fatal = event.text
        elif isinstance(event, ClientStep):
            self._changed.set()
        elif isinstance(event, State):
            self._state = event
            self._changed.set()
            if event.name == "CONNECTED":
                self._held = False
                self._answers()
        self._publish(event)

    def _answers(self) -> None:
        """The daemon is there, if we are through with the beginning."""
        if self._snapshot is None:
            return
        if self._held:
            self._stand(Standing("held", time.time(), trouble("held", self.path)))
        else:
            self._stand(Standing("up", time.time()))

    def _lose(self, error: UnavailableError) -> None:
        if self._fatal and error.error_id == "vpn_management_gone":  # its last words say more than that it is gone
            error = trouble("gone", self.path, self._fatal)
        self._snapshot = None
        since = self._standing.since if self._standing.kind == "gone" else time.time()
        self._stand(Standing("gone", since, error))

    def _stand(self, standing: Standing) -> None:
        if (standing.kind, standing.alarm) != (self._standing.kind, self._standing.alarm):
            _log.info("%s: %s", self.path, standing.alarm or standing.kind)
            self._standing = standing
            self._moved.set()
            self._publish(standing)

    def _publish(self, item: Item) -> None:
        for subscription in list(self._subscriptions):
            subscription.put(item)

    def _connected(self) -> Session:
        if self._session is None:
            raise self._standing.error or _unconnected(self.path)
        return self._session


def _unconnected(path: Path) -> UnavailableError:
    reason = "not connected"
    return trouble("gone", path, reason)
