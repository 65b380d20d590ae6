"""The history's daemon: reads the spool on, rotates it, watches the disk, ends calls of a dead engine."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.errors import CentralinoError
from appliance.engine.ami import AmiClient
from appliance.engine.logs import EngineLogs
from appliance.engine.place import ami_port, engine_namespace
from appliance.history import outbox
from appliance.history.alarms import Alarms
from appliance.history.ingest import Ingest
from appliance.history.spool import Spool, listening
from appliance.paths import EnginePaths, Paths
from appliance.store import history as table
from appliance.store.database import Database

_log = logging.getLogger("centralino.history")

FULL: Final = 64 * 1024
"""Free bytes below which the engine's next lines may be lost."""
SAY_AGAIN_S: Final = 60.0
"""An error that stays is logged this often."""
LATE_MS: Final = 60_000
"""A call without events for this long is asked after at the engine when events were lost."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the daemon works by.

    :param poll_s: seconds between two looks at the spool.
    :param keep_s: seconds that a file of the spool is kept after it was read to its end.
    :param rotate_bytes: size at which the live file is sealed.
    :param low_bytes: free bytes below which the alarm is raised; the engine writes about 2 kB per call.
    :param watch_s: seconds between two looks at disk and engine.
    :param reconcile_s: seconds between two comparisons of open calls with the engine's channels.
    :param settle_s: seconds until the last event of a channel that the engine doesn't have any more is in the spool.
    """

    poll_s: float = 0.5
    keep_s: float = 7 * 86400
    rotate_bytes: int = 64 << 20
    low_bytes: int = 256 << 20
    watch_s: float = 2.0
    reconcile_s: float = 3600.0
    settle_s: float = 5.0


class Daemon:
    """Everything that the history needs done, in one thread.

    :param channels: ids of the channels that the engine has; None: it can't be asked.
    :param logs: the engine's logs, on the same disk as the spool: kept from filling it.
    """

    def __init__(
        self,
        database: Database,
        spool: Spool,
        control_socket: Path,
        channels: Callable[[], Collection[str] | None],
        limits: Limits = Limits(),
        logs: EngineLogs | None = None,
    ) -> None:
        self.limits = limits
        self._database = database
        self._ingest = Ingest(database, spool)
        self._alarms = Alarms(database)
        self._logs = logs
        self._spool, self._control_socket, self._channels = spool, control_socket, channels
        self._full_since: int | None = None
        self._dropping_since: int | None = None
        self._day = time.gmtime().tm_yday
        self._next_watch = self._next_reconcile = 0.0
        self._asked: tuple[Collection[str], int, float] | None = None
        self._said = ("", 0.0)

    @property
    def open_calls(self) -> int:
        """Calls in progress."""
        return self._ingest.open_calls

    def turn(self) -> int:
        """One round: everything new is read, and what is due is done. Bytes read."""
        alive = listening(self._control_socket)
        taken = self._ingest.drain()
        if not alive and self._ingest.open_calls:
            # Asked before the last look at the spool: whatever a new run wrote since begins with its own announcement.
            ended = self._ingest.engine_died()
            _log.error("the engine is gone: %d calls ended with it", ended)
        if (now := time.monotonic()) >= self._next_watch:
            self._next_watch = now + self.limits.watch_s
            self._watch_disk()
            self._watch_notices()
            self._tidy()
        self._reconcile(now)
        if alive and now >= self._next_reconcile and self._ingest.open_calls:
            self._next_reconcile = now + self.limits.reconcile_s
            live = self._channels()
            self._asked = None if live is None else (live, (_now() - LATE_MS) * 1000, now)
        return taken

    def run(self, stop: threading.Event) -> None:
        """Turn after turn until ``stop``; what fails now is tried again."""
        while not stop.is_set():
            try:
                self.turn()
                self._alarms.set("history_stopped", "critical", "", False)
            except Exception as error:  # noqa: BLE001 (whatever it is: an alarm helps, a daemon that is gone doesn't)
                self._failed(error)
            stop.wait(self.limits.poll_s)

    def _failed(self, error: Exception) -> None:
        foreseen = isinstance(error, CentralinoError | OSError)
        text = str(error) if foreseen else f"{type(error).__name__}: {error}"
        if self._said[0] != text or time.monotonic() > self._said[1] + SAY_AGAIN_S:
            self._said = text, time.monotonic()
            _log.error("%s (%s)", text, getattr(error, "hint", ""), exc_info=None if foreseen else error)
        if getattr(error, "error_id", "") != "no_spool":
            try:
                self._alarms.set("history_stopped", "critical", f"calls can't be recorded: {text}", True)
            except Exception:  # noqa: BLE001 (as above)
                _log.exception("alarm history_stopped can't be kept")

    def _watch_disk(self) -> None:
        free = self._spool.free()
        full, low = free < FULL, free < self.limits.low_bytes
        if full and self._full_since is None:
            self._full_since = _now()
        if low:
            self._ingest.prune(_now() + 1)  # what has been read is given up early: the engine needs the room
        directory = self._spool.directory
        self._alarms.set("spool_low", "warning", f"{directory}: {free >> 20} MiB free: soon calls will be lost", low)
        self._alarms.set("spool_full", "critical", f"{directory} is full: calls are being lost", full)
        if not full and self._full_since is not None:
            self._ingest.add_gap(self._full_since, _now(), "disk_full", str(directory))
            self._full_since = None
            self._next_reconcile = 0.0

    def _watch_notices(self) -> None:
        """Whether somebody takes out what is to be sent."""
        with self._database.read() as connection:
            backlog = outbox.backlog(connection)
        many, full = backlog.waiting >= outbox.WAITING_MANY, backlog.waiting >= outbox.WAITING_MAX
        message = f"{backlog.waiting} notifications wait for the process that sends them"
        self._alarms.set("notifications_waiting", "warning", message, many)
        message = f"{backlog.waiting} notifications wait for the process that sends them: new ones are being lost"
        self._alarms.set("notifications_lost", "critical", message, full)
        if backlog.dropped and self._dropping_since is None:
            self._dropping_since = _now()
        if backlog.dropped and not full and self._dropping_since is not None:
            self._ingest.add_gap(
                self._dropping_since, _now(), "notifications_lost", f"{backlog.dropped} notifications", notices=True
            )
            self._dropping_since = None

    def _tidy(self) -> None:
        day = time.gmtime().tm_yday
        if self._ingest.rotate(1 if day != self._day else self.limits.rotate_bytes):
            _log.info("spool file sealed")
        self._day = day
        self._ingest.prune(_now() - int(self.limits.keep_s * 1000))
        if self._logs is not None:
            self._logs.bound()

    def _reconcile(self, now: float) -> None:
        """End calls that the engine had lost when it was asked, unless the spool has told their end since."""
        if self._asked is None or now < self._asked[2] + self.limits.settle_s:
            return
        live, before, _ = self._asked
        self._asked = None
        if ended := self._ingest.reconcile(live, before):
            _log.error("%d calls ended without a trace in the spool", ended)


def engine_channels(paths: EnginePaths, port: int) -> Collection[str] | None:
    """Ids of all channels of the running engine; None when it can't be asked."""
    try:
        secret = paths.ami_secret.read_text()
        with AmiClient.connect(secret, port=port, network_namespace=engine_namespace()) as ami:
            return {channel["Uniqueid"] for channel in ami.channels()}
    except (CentralinoError, OSError):
        return None


def rotate_logs(paths: EnginePaths, port: int) -> None:
    """Tell the running engine to begin new logs; one that can't be told is told at the next look."""
    with contextlib.suppress(CentralinoError, OSError):
        secret = paths.ami_secret.read_text()
        with AmiClient.connect(secret, port=port, network_namespace=engine_namespace()) as ami:
            ami.command("logger rotate")


def _now() -> int:
    return time.time_ns() // 1_000_000


def main(argv: list[str] | None = None) -> int:
    """``python -m appliance.history``: run until SIGTERM or SIGINT. Exit code 0, or 1 with one line why not."""
    parser = argparse.ArgumentParser(
        prog="appliance.history", description="Turns the engine's events into call history."
    )
    parser.add_argument("--ami-port", type=int, help="default: CENTRALINO_AMI_PORT, or 5038")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    paths = Paths.default()
    try:
        port = options.ami_port or ami_port()
        spool = Spool(paths.engine.cel)
        with spool.lock():
            database = table.open_history(paths=paths)
            try:
                daemon = Daemon(
                    database,
                    spool,
                    paths.engine.control_socket,
                    lambda: engine_channels(paths.engine, port),
                    logs=EngineLogs(paths.engine.log, lambda: rotate_logs(paths.engine, port)),
                )
                daemon.run(stop)
            finally:
                database.close()
    except CentralinoError as error:
        _log.error("%s (%s)", error, error.hint)
        return 1
    return 0
