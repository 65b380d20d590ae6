"""Makes the files of scheduled exports and sees that they arrive: one of each export at a time, tried until it has arrived."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from appliance.core.errors import CentralinoError
from appliance.history.export import COLUMNS, Format, between
from appliance.history.model import Call
from appliance.history.service import History
from appliance.notifications import schedule, sftp
from appliance.notifications.backoff import wait_s
from appliance.notifications.config import Config, Source
from appliance.notifications.model import HistoryExport, HttpsTarget, Separator, SftpTarget
from appliance.notifications.runs import Run, Runs, RunState
from appliance.notifications.sender import FAULT, UNHANDED
from appliance.notifications.signature import ID, SIGNATURE, TIMESTAMP, encoded, key_of
from appliance.notifications.web import Answer, Place, Web
from appliance.store.database import Database

_log = logging.getLogger("centralino.notifications")
T = TypeVar("T")

WHOLE_S: Final = 3600.0
"""That the transfer of one file may take."""
LATE_S: Final = 600.0
"""A file that hasn't arrived for so long is worth an alarm."""


class Exports:
    """Everything about exports. Runs in the sender's loop, with a database thread of its own: a file may be long."""

    def __init__(self, database: Database, source: Source) -> None:
        self._history, self._runs, self._source = History(database), Runs(database), source
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="exports")
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self.late: dict[str, str] = {}

    async def turn(self, config: Config) -> None:
        """Begin what is due. :raises CentralinoError: the database refuses."""
        if not config.exports:
            self.late = {}
            return
        newest = await self._in_thread(self._runs.newest)
        now = _now()
        for id, export in config.exports.items():
            if id not in self._under_way:
                await self._look_at(export, newest.get(id), config, now)
        self.late = {
            id: run.error
            for id, run in newest.items()
            if id in config.exports and run.state is RunState.WAITING and run.error and now - run.until > LATE_S * 1000
        }

    async def _look_at(self, export: HistoryExport, last: Run | None, config: Config, now: int) -> None:
        if last is None:
            await self._in_thread(lambda: self._runs.begin(export.id, now))
        elif last.state is RunState.WAITING:
            if last.ready(now):
                self._under_way[export.id] = asyncio.create_task(self._deliver(export, last))
        elif schedule.is_due(export, config.zone(export), _utc(now), _utc(last.until)):
            await self._in_thread(lambda: self._add(export, last, config, now))

    def _add(self, export: HistoryExport, last: Run, config: Config, now: int) -> None:
        zone = config.zone(export)
        until = schedule.last_due(export, zone, _utc(now))
        count = json.loads(last.settings).get("count", 0) + 1
        settings = {
            "count": count,
            "zone": zone.key,
            "columns": [column.value for column in export.columns],
            "separator": ";" if export.separator is Separator.SEMICOLON else ",",
            "bom": export.byte_order_mark,
            "site": export.site if export.only_site else "",
            "directions": [direction.value for direction in export.directions],
        }
        name = schedule.file_name(export, zone, min(_utc(last.until), until), until, count)
        self._runs.add(export.id, last, round(until.timestamp() * 1000), name, json.dumps(settings), now)

    async def _deliver(self, export: HistoryExport, run: Run) -> None:
        try:
            try:
                error = await self._upload(export, run)
            except CentralinoError as failure:
                error = failure.message
            except Exception:  # noqa: BLE001 (a mistake of ours about one file is no reason to stop all)
                _log.exception("file %s of export %s failed", run.file, export.id)
                error = FAULT
            if error:
                _log.warning("file %s of export %s: %s", run.file, export.id, error)
                wait = round(wait_s(run.attempts + 1) * 1000)
                await self._in_thread(lambda: self._runs.failed(run.number, error, wait, _now()))
            else:
                _log.info("file %s of export %s has arrived", run.file, export.id)
                await self._in_thread(lambda: self._runs.arrived(run.number, _now()))
        except CentralinoError as failure:  # the database: nothing was noted, so it is sent again
            _log.error("file %s of export %s: %s", run.file, export.id, failure)
        finally:
            del self._under_way[export.id]

    async def _upload(self, export: HistoryExport, run: Run) -> str:
        """Send a file; why it failed, or nothing."""
        target = export.target
        if isinstance(target, SftpTarget):
            secret = await self._in_thread(lambda: self._source.secret(target.secret))
            if secret is None:
                return UNHANDED
            async with asyncio.timeout(WHOLE_S):
                return await sftp.upload(target, secret, run.file, self._pieces(run))
        secrets = await self._in_thread(lambda: self._source.secrets(target))
        return (await self._send(target, secrets, run)).error if secrets else UNHANDED

    async def _send(self, target: HttpsTarget, secrets: list[str], run: Run) -> Answer:
        """By HTTPS: the file is gone through twice, since its signature stands before it."""
        id, moment = f"exp_{run.export}_{run.number}", int(time.time())
        macs = [hmac.new(key_of(secret), f"{id}.{moment}.".encode(), hashlib.sha256) for secret in secrets]
        length = 0
        async for piece in self._pieces(run):
            length += len(piece)
            for mac in macs:
                mac.update(piece)
        headers = {
            ID: id, TIMESTAMP: str(moment), SIGNATURE: " ".join(dict.fromkeys(encoded(mac.digest()) for mac in macs)),
            "Content-Type": "text/csv; charset=utf-8; header=present", "Content-Length": str(length),
            "Content-Disposition": f'attachment; filename="{run.file}"',
        }  # fmt: skip
        web = Web(Place(target.url, target.authority, target.allow_local))
        try:
            put = target.method.value == "put"
            return await web.send(
                target.method.value.upper(), self._pieces(run), headers, behind=run.file if put else "", whole_s=WHOLE_S
            )
        finally:
            await web.close()

    async def _pieces(self, run: Run) -> AsyncIterator[bytes]:
        pieces = self._text(run)
        while (piece := await self._in_thread(lambda: next(pieces, None))) is not None:
            yield piece.encode()

    def _text(self, run: Run) -> Iterator[str]:
        settings = json.loads(run.settings)
        format = Format(settings["zone"], settings["bom"], settings["separator"])
        keep = chosen(settings["site"], frozenset(settings["directions"]))
        columns = settings["columns"] or COLUMNS
        return between(self._history, run.first_call, run.last_call, format, columns=columns, keep=keep)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def close(self) -> None:
        """Break off what is under way: it is tried again by the next process."""
        for task in list(self._under_way.values()):
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        self._thread.shutdown()


def chosen(site: str, directions: frozenset[str]) -> Callable[[Call], bool]:
    """Whether a call belongs into the file: empty means all."""
    return lambda call: (
        (not directions or call.direction.value in directions)
        and (not site or site in (call.from_site, call.reached_site) or any(leg.site == site for leg in call.legs))
    )


def _now() -> int:
    return time.time_ns() // 1_000_000


def _utc(millis: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(millis / 1000, datetime.UTC)
