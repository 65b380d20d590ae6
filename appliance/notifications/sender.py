"""Sends what is due: to each endpoint a few at a time, of each call one after the other, and to one that fails only now and then.

One thread of its own does all that touches the databases, so that a locked one holds up nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from appliance.core.errors import CentralinoError
from appliance.i18n import later
from appliance.notifications import queue
from appliance.notifications.backoff import wait_s
from appliance.notifications.config import Config, Source
from appliance.notifications.model import NotificationEndpoint, WebhookEndpoint
from appliance.notifications.queue import Due, Health, Outcome, Queue
from appliance.notifications.signature import headers
from appliance.notifications.web import Answer, Place, Web

_log = logging.getLogger("centralino.notifications")
T = TypeVar("T")

AT_ONCE: Final = 8
"""Deliveries under way to one endpoint; to one that fails, one."""
POLL_S: Final = 0.25
LOOK_S: Final = 2.0
"""Between two looks whether the document has changed."""
GONE: Final = 410
ITS_OWN: Final = frozenset({400, 409, GONE, 413, 415, 422})
"""What is wrong with one delivery (RFC 9110 section 15.5): the endpoint may take others."""
UNHANDED: Final = later("its secret isn't there yet: the applier hands it over, once it has a value")
FAULT: Final = later("it can't be sent: see the log")


class Line:
    """One endpoint: how it does, what is under way to it. ``until`` and ``counted`` are monotonic seconds."""

    def __init__(self, id: str, health: Health) -> None:
        self.id = id
        self.health = health
        self.failures = 0
        self.until = 0.0
        self.counted: float | None = None
        self.under_way: dict[int, asyncio.Task[None]] = {}
        self.web: Web | None = None
        self.changed = False

    def room(self, now: float) -> int:
        """How many more may be sent now."""
        if now < self.until:
            return 0
        return max(0, (AT_ONCE if self.counted is None else 1) - len(self.under_way))

    def failed(self, error: str, asked_s: float | None = None) -> None:
        """It can't be reached, or doesn't take anything: everything for it waits. Several at once count as one."""
        now = time.monotonic()
        self.health.failing_ms += 0 if self.counted is None else round((now - self.counted) * 1000)
        self.health.failing_since = self.health.failing_since or _now()
        self.health.error = error
        self.counted, self.changed = now, True
        if now >= self.until:
            self.failures += 1
            self.until = now + wait_s(self.failures, asked_s)

    def worked(self) -> None:
        """It took something."""
        self.health.succeeded = _now()
        self.answers()

    def answers(self) -> None:
        """It is there and says what is wrong with a delivery: others may be sent."""
        self.health.failing_since, self.health.error = None, ""
        self.counted, self.failures, self.until, self.changed = None, 0, 0.0, True

    def try_now(self) -> None:
        """Don't wait any longer."""
        self.failures, self.until = 0, 0.0


@dataclass(slots=True)
class Numbers:
    """What the sender has done since it began."""

    delivered: int = 0
    failed: int = 0
    given_up: int = 0
    lines: dict[str, Health] = field(default_factory=dict)


class Sender:
    """Everything about webhooks. Runs in one asyncio loop."""

    def __init__(self, queue: Queue, source: Source) -> None:
        self._queue, self._source = queue, source
        self._database_thread = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._config = Config()
        self._looked = -LOOK_S
        self._said = ""
        self._lines: dict[str, Line] = {}
        self._outcomes: list[Outcome] = []
        self._wake = asyncio.Event()
        self.numbers = Numbers()

    @property
    def config(self) -> Config:
        """What is in force."""
        return self._config

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Run something that touches the databases."""
        return await asyncio.get_running_loop().run_in_executor(self._database_thread, call)

    async def pause(self) -> None:
        """Wait until there may be something to do."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._wake.wait()
        self._wake.clear()

    async def start(self) -> None:
        """Take up what an earlier process noted."""
        self._lines = {id: Line(id, health) for id, health in (await self.in_thread(self._queue.healths)).items()}

    async def turn(self) -> None:
        """One round: the document, new notices, what has become of attempts, what is due.

        :raises CentralinoError: the databases refuse; nothing is lost, call again.
        """
        await self._settle()
        await self.look()
        wants, names = self._config.wants(), self._config.names
        if await self.in_thread(lambda: self._queue.fan_out(wants, names, _now())):
            self._wake.set()  # there may be more
        for id in self._config.endpoints:
            await self._send_due(self._line(id))

    async def look(self) -> None:
        """Read the document if it has changed. While it can't be read, what it said last goes on to hold.

        :raises CentralinoError: it was never read: what is to be sent to whom isn't known.
        """
        if time.monotonic() < self._looked + LOOK_S:
            return
        self._looked = time.monotonic()
        before = self._config
        try:
            self._config = await self.in_thread(self._source.current)
        except CentralinoError as error:
            if before.revision < 0:
                self._looked -= LOOK_S
                raise
            if error.message != self._said:
                _log.warning("the configuration of before goes on to hold: %s", error)
            self._said = error.message
            return
        self._said = ""
        if before is self._config:
            return
        known = set(self._config.endpoints)
        for line in self._lines.values():
            line.try_now()  # whatever was wrong may have been mended
            if line.web is not None and (line.id not in known or line.web.place != self._place(line.id)):
                web, line.web = line.web, None
                await web.close()
        abandoned = await self.in_thread(lambda: self._queue.abandon(known, _now()))
        self.numbers.given_up += abandoned
        if abandoned:
            _log.warning("%d deliveries given up: their endpoints aren't in the document any more", abandoned)

    def _place(self, id: str) -> Place:
        target = self._config.endpoints[id].target
        assert isinstance(target, WebhookEndpoint)  # noqa: S101 (the configuration has no others)
        return Place(target.url, target.authority, target.allow_local)

    def _line(self, id: str) -> Line:
        line = self._lines.get(id)
        if line is None:
            line = self._lines[id] = Line(id, Health())
        return line

    async def _send_due(self, line: Line) -> None:
        room = line.room(time.monotonic())
        if not room:
            return
        busy = set(line.under_way) | {outcome.due.number for outcome in self._outcomes}
        for due in await self.in_thread(lambda: self._queue.due(line.id, _now(), room, busy)):
            task = asyncio.create_task(self._deliver(line, due))
            line.under_way[due.number] = task

    async def _deliver(self, line: Line, due: Due) -> None:
        outcome = None
        try:
            outcome = await self._attempt(line, due)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 (a mistake of ours about one delivery is no reason to stop all)
            _log.exception("delivery %s to %s failed", due.id, line.id)
            outcome = Outcome(due, None, FAULT, wait_ms=round(wait_s(due.attempts + 1) * 1000))
        finally:
            if outcome is not None:
                self._outcomes.append(outcome)
            line.under_way.pop(due.number, None)
            self._wake.set()

    async def _attempt(self, line: Line, due: Due) -> Outcome:
        endpoint = self._config.endpoints.get(line.id)
        if endpoint is None:
            return Outcome(due, None, queue.GONE, permanent=True)
        answer = await self._post(line, endpoint, due)
        if not answer.error:
            line.worked()
            self.numbers.delivered += 1
            return Outcome(due, answer.status)
        self.numbers.failed += 1
        if answer.status in ITS_OWN:
            line.answers()
        else:
            line.failed(answer.error, answer.retry_after_s)
        _log.info("%s to %s: %s", due.id, line.id, answer.error)
        wait = round(wait_s(due.attempts + 1, answer.retry_after_s) * 1000)
        return Outcome(due, answer.status, answer.error, permanent=answer.status == GONE, wait_ms=wait)

    async def _post(self, line: Line, endpoint: NotificationEndpoint, due: Due) -> Answer:
        target = endpoint.target
        assert isinstance(target, WebhookEndpoint)  # noqa: S101 (the configuration has no others)
        secrets = await self.in_thread(lambda: self._source.secrets(target))
        if not secrets:
            return Answer(None, UNHANDED)
        if line.web is None:
            line.web = Web(self._place(line.id))
        content = due.body.encode()
        signed = headers(secrets, due.id, int(time.time()), content)
        return await line.web.send("POST", content, {**signed, "Content-Type": "application/json"})

    async def _settle(self) -> None:
        """Note what has become of attempts; what couldn't be noted is noted later."""
        changed = {line.id: line.health for line in self._lines.values() if line.changed}
        if not self._outcomes and not changed:
            return
        outcomes = list(self._outcomes)
        for id in changed:
            self._lines[id].changed = False
        try:
            given_up = await self.in_thread(lambda: self._queue.settle(outcomes, changed, _now()))
        except BaseException:
            for id in changed:
                self._lines[id].changed = True
            raise
        del self._outcomes[: len(outcomes)]
        self.numbers.given_up += given_up
        if given_up:
            _log.error("%d deliveries given up: centralino notifications list --state dead", given_up)

    async def close(self, wait_s: float = 5.0) -> None:
        """Give what is under way a moment, note what became of it, and close the connections."""
        tasks = [task for line in self._lines.values() for task in line.under_way.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=wait_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        with contextlib.suppress(CentralinoError):  # it is sent again
            await self._settle()
        for line in self._lines.values():
            if line.web is not None:
                await line.web.close()
        self._database_thread.shutdown()

    def failing(self) -> dict[str, Health]:
        """Endpoints of the document that fail now."""
        return {
            id: line.health
            for id, line in self._lines.items()
            if id in self._config.endpoints and line.health.failing_since is not None
        }


def _now() -> int:
    return time.time_ns() // 1_000_000
