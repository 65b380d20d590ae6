"""What is due about once a second: an engine to verify, a confirm window that has closed, a scheduled revision."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import structlog

from appliance.applier.confirm import Pending
from appliance.applier.journal import LastError, now
from appliance.applier.link import Run
from appliance.applier.options import ALL_EFFECTS, Options, quiet
from appliance.applier.refreshing import avoid_silent, refresh
from appliance.applier.service import Service
from appliance.applier.sockets import Doors
from appliance.core.document import Document
from appliance.core.errors import CentralinoError, RefusedError, UnavailableError
from appliance.names.answers import Resolved
from appliance.names.wanted import wanted
from appliance.store import State

_log = structlog.get_logger("centralino.applier")

ASK_AGAIN_S: Final = 60.0
"""Seconds until an engine that differs from what is committed is told and asked again."""
LOOK_AGAIN_S: Final = 10.0
"""Seconds between two looks at which revision is the store's newest, and at whose rules the firewall has."""
JUDGE_AGAIN_S: Final = 5.0
"""Seconds between two looks at which providers answer; :data:`SETTLE_S` after one is called elsewhere."""
SETTLE_S: Final = 45.0
SEEN_S: Final = 30.0
"""Seconds between two notes of how much of a confirm window is left."""
AUTHOR: Final = "applier"


class Upkeep:
    """Looks after one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._seen: Run | None = None
        self._ask_again = 0.0
        self._look_again = 0.0
        self._enforce_again = 0.0
        self._restarted_for: Doors | None = None
        self._followed: Document | None = None
        self._resolved: Mapping[str, Resolved] | None = None
        self._refresh_again = 0.0
        self._moved: tuple[str, ...] = ()
        self._judge_again = 0.0

    @property
    def engine_seen(self) -> Run | None:
        """Which run of the engine was the last of which everything was read back."""
        return self._seen

    def tend(self) -> None:
        """Do what is due; nothing while a change is being applied. What fails holds none of the rest up.

        :raises CentralinoError: something can't be done now: the first such reason.
        """
        service = self._service
        if not service.idle:
            return
        failed: list[Exception] = []
        with service.exclusively():
            for duty in (
                self._store,
                self._confirm,
                self._hand_out,
                self._names,
                self._firewall,
                self._engine,
                service.schedule.work_off,
            ):
                try:
                    duty()
                except CentralinoError as error:
                    failed.append(error)
                except Exception as error:  # noqa: BLE001 (a mistake of ours in one duty leaves the others)
                    _log.exception("duty_failed", duty=duty.__name__)
                    failed.append(error)
        if failed:
            raise failed[0]

    def _store(self) -> None:
        """An apply couldn't even write down its end (the disk was full, say), or its answer was lost."""
        service = self._service
        if service.journal.state.transaction is not None or time.monotonic() >= self._look_again:
            self._look_again = time.monotonic() + LOOK_AGAIN_S
            service.follow_store()

    def _hand_out(self) -> None:
        """Secrets that couldn't be handed out, or that another key opens."""
        self._service.hand_out(self._service.current.document)

    def _names(self) -> None:
        """Names that the document mentions mean something else than they did."""
        names, document = self._service.desired.names, self._service.current.document
        if document is not self._followed:
            names.follow(wanted(document))
            self._followed = document
        self._avoid_silent()
        resolved = names.resolved()
        if resolved != self._resolved and time.monotonic() >= self._refresh_again:
            self._refresh_again = time.monotonic() + ASK_AGAIN_S
            refresh(self._service)
            self._resolved, self._refresh_again = resolved, 0.0
            for endpoint in self._moved:
                self._service.applier.link.qualify(endpoint)
            self._moved = ()

    def _avoid_silent(self) -> None:
        """Providers that don't answer at one address of several. The new one is given time to answer before it is judged."""
        if time.monotonic() < self._judge_again:
            return
        self._judge_again = time.monotonic() + JUDGE_AGAIN_S
        with contextlib.suppress(UnavailableError):  # no engine, no answer
            self._moved = avoid_silent(self._service)
        if self._moved:
            self._judge_again = time.monotonic() + SETTLE_S

    def _firewall(self) -> None:
        """Rules that somebody took away or replaced are loaded again."""
        if time.monotonic() >= self._enforce_again:
            self._enforce_again = time.monotonic() + LOOK_AGAIN_S
            self._service.enforce()

    def _engine(self) -> None:
        service = self._service
        journal, link, current = service.journal, service.applier.link, service.current
        run, verified = link.run, journal.state.verified
        due = run != self._seen or (not verified and time.monotonic() >= self._ask_again)
        if run is not None and due and link.answers:
            # An engine that was started anew has read the files as they stand; one that an apply left midway has not.
            wrong = service.applier.verify(current.known, reload=not verified)
            doors = link.doors(current.files)
            if not wrong and self._restart_mends(doors) and link.idle:
                _log.warning("restarting_engine", reason=str(doors.mismatches[0]))
                self._restarted_for = doors
                link.restart()
                return
            if not doors.mismatches:
                self._restarted_for = None
            wrong += doors.mismatches
            self._seen = run
            if wrong:
                self._ask_again = time.monotonic() + ASK_AGAIN_S
                message = f"the engine differs from revision {current.revision}: {wrong[0]}"
                _log.error("engine_differs", count=len(wrong), first=str(wrong[0]))
                error = LastError(revision=current.revision, error_id="engine_differs", message=message)
                journal.update(verified=False, last_error=error)
            elif not verified:
                journal.update(verified=True, last_error=_settled(journal.state.last_error))
                _log.info("verified", revision=current.revision)
        service.collector.go_on(current.document)

    def _restart_mends(self, doors: Doors) -> bool:
        """Only when it is started anew, the engine closes a listener of an apply that was undone, and opens one that it
        has lost, if nobody else holds its port. If that didn't help, it isn't tried again."""
        link = self._service.applier.link
        return bool(doors.mismatches) and doors != self._restarted_for and not link.hindrances(doors.closed)

    def _confirm(self) -> None:
        service = self._service
        pending = service.journal.state.confirm
        if pending is None:
            return
        moment = now()
        if pending.left(moment) > 0:
            if abs(moment.wall_s - pending.seen.wall_s) > SEEN_S:
                service.journal.update(confirm=pending.at(moment))
            return
        try:
            number = self._restoring(pending)
        except RefusedError:  # nothing would change: it holds the same
            service.journal.update(confirm=None)
            return
        service.apply_locked(number, Options(allow=ALL_EFFECTS, offline=True, keep_open=True), quiet)

    def _restoring(self, pending: Pending) -> int:
        """The proposal that goes back: one for each window, however often it has to be tried."""
        service = self._service
        if pending.restore is not None and service.store.revision(pending.restore).state is State.PROPOSED:
            return pending.restore
        _log.warning("not_confirmed", revision=pending.revision, back_to=pending.previous)
        message = f"Revision {pending.revision} was not confirmed in time"
        restored = service.store.propose_restore(pending.previous, author=AUTHOR, message=message)
        service.journal.update(confirm=replace(pending, restore=restored.number))
        return restored.number


def _settled(error: LastError | None) -> LastError | None:
    """The error to show once the engine is verified: a difference is over, other errors stay the last ones."""
    return None if error is not None and error.error_id == "engine_differs" else error
