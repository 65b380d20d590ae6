"""The daemon: sends notifications and exports until it is told to stop; what fails now is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Callable
from typing import Final

from appliance.core.errors import CentralinoError, UnavailableError
from appliance.engine.place import has_vpn
from appliance.history.alarms import Alarms
from appliance.notifications.config import Source
from appliance.notifications.exports import Exports
from appliance.notifications.queue import WAITING_MAX, Queue
from appliance.notifications.sender import Sender
from appliance.notifications.watching import Told, Watching
from appliance.paths import Paths
from appliance.store import Store
from appliance.store.database import Database
from appliance.store.history import open_history
from appliance.vpn.asking import told

_log = logging.getLogger("centralino.notifications")

WATCH_S: Final = 5.0
CLEAR_S: Final = 60.0
FAILING_S: Final = 600.0
"""An endpoint that has failed for so long is worth an alarm."""
MANY: Final = WAITING_MAX // 5
RETRY_S: Final = 1.0
SAY_AGAIN_S: Final = 60.0


class Daemon:
    """Puts sender, exports and alarms together."""

    def __init__(self, database: Database, source: Source, ask_vpn: Callable[[], Told] | None = None) -> None:
        self._queue = Queue(database)
        self.sender = Sender(self._queue, source)
        self._exports = Exports(database, source)
        self._alarms = Alarms(database)
        self._watching = Watching(self._alarms, ask_vpn)
        self._next_watch = self._next_clear = 0.0
        self._said = ("", 0.0)

    async def run(self, stop: asyncio.Event) -> None:
        """Turn after turn until ``stop``."""
        started = False
        try:
            while not stop.is_set():
                try:
                    if not started:
                        await self.sender.start()
                        started = True
                    await self.sender.turn()
                    await self._exports.turn(self.sender.config)
                    await self._watch()
                except Exception as error:  # noqa: BLE001 (whatever it is: a daemon that is gone sends nothing)
                    self._failed(error)
                    await asyncio.sleep(RETRY_S)
                await self.sender.pause()
        finally:
            await self._exports.close()
            await self.sender.close()

    def _failed(self, error: Exception) -> None:
        foreseen = isinstance(error, CentralinoError | OSError)
        text = str(error) if foreseen else f"{type(error).__name__}: {error}"
        if self._said[0] != text or time.monotonic() > self._said[1] + SAY_AGAIN_S:
            self._said = text, time.monotonic()
            _log.error("%s (%s)", text, getattr(error, "hint", ""), exc_info=None if foreseen else error)

    async def _watch(self) -> None:
        now = time.monotonic()
        if now >= self._next_clear:
            self._next_clear = now + CLEAR_S
            await self.sender.in_thread(lambda: self._queue.clear_away(_now()))
        if now >= self._next_watch:
            self._next_watch = now + WATCH_S
            await self.sender.in_thread(self._raise)

    def _raise(self) -> None:
        late_since = _now() - FAILING_S * 1000
        failing = {
            id: health.error
            for id, health in self.sender.failing().items()
            if health.failing_since is not None and health.failing_since < late_since
        }
        message = f"notifications can't be delivered to {_first(failing)}"
        self._alarms.set("notifications_failing", "warning", message, bool(failing))
        figures = self._queue.figures()
        message = f"{figures.dead} notifications were given up: centralino notifications list --state dead"
        self._alarms.set("notifications_dead", "warning", message, figures.dead > 0)
        many = {id: f"{count} of {WAITING_MAX}" for id, count in figures.waiting.items() if count >= MANY}
        message = f"many notifications wait for {_first(many)}"
        self._alarms.set("notifications_many", "warning", message, bool(many))
        late = self._exports.late
        message = f"files of the call history don't arrive: {_first(late)}"
        self._alarms.set("export_late", "warning", message, bool(late))
        self._watching.look()


def _first(named: dict[str, str]) -> str:
    if not named:
        return ""
    id, text = next(iter(sorted(named.items())))
    return f"{id} ({text})" + (f" and {len(named) - 1} more" if len(named) > 1 else "")


def _now() -> int:
    return time.time_ns() // 1_000_000


async def serve(paths: Paths, store: Store) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    database = await _opened(paths, stop)
    if database is not None:
        try:
            ask_vpn = (lambda: told(paths.vpn_socket)) if has_vpn() else None
            await Daemon(database, Source(store, paths), ask_vpn).run(stop)
        finally:
            database.close()


async def _opened(paths: Paths, stop: asyncio.Event) -> Database | None:
    """The history's database, once its daemon has made its tables or brought them up to date; None: told to stop before."""
    said = ""
    while not stop.is_set():
        try:
            return await asyncio.to_thread(lambda: open_history(paths=paths, upgrade=False))
        except UnavailableError as error:
            if error.error_id != said:
                said = error.error_id
                _log.warning("waiting for the history: %s", error)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_S):
                await stop.wait()
    return None


def main() -> int:
    """``python -m appliance.notifications``: exit code 0, or 1 with one line why not."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in ("alembic", "httpx", "httpcore", "asyncssh"):  # they'd log URLs, which may hold tokens
        logging.getLogger(name).setLevel(logging.WARNING)
    paths = Paths.default()
    try:
        with Store.default(paths) as store:
            asyncio.run(serve(paths, store))
    except CentralinoError as error:
        _log.error("%s (%s)", error, error.hint)
        return 1
    return 0
