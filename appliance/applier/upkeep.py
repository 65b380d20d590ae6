"""What is due about once a second: an engine to verify, a confirm window that has closed, a scheduled revision."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

import structlog

from appliance.applier.journal import LastError, now
from appliance.applier.link import Run
from appliance.applier.service import ALL_EFFECTS, Options, Service, quiet
from appliance.core.errors import CentralinoError

_log = structlog.get_logger("centralino.applier")

ASK_AGAIN_S: Final = 60.0
"""Seconds until an engine that differs from what is committed is told and asked again."""
SEEN_S: Final = 30.0
"""Seconds between two notes of how much of a confirm window is left."""
AUTHOR: Final = "applier"


class Upkeep:
    """Looks after one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._seen: Run | None = None
        self._ask_again = 0.0

    @property
    def engine_seen(self) -> Run | None:
        """Which run of the engine was the last of which everything was read back."""
        return self._seen

    def tend(self) -> None:
        """Do what is due; nothing while a change is being applied. :raises CentralinoError: it can't be done now."""
        service = self._service
        if not service.idle:
            return
        with service.exclusively():
            if service.journal.state.transaction is not None:
                service.converge_locked()  # an apply couldn't even write down its end: the disk was full, say
            self._engine()
            self._confirm()
        self._schedule()

    def _engine(self) -> None:
        service = self._service
        journal, link, current = service.journal, service.applier.link, service.current
        run, verified = link.run, journal.state.verified
        due = run != self._seen or (not verified and time.monotonic() >= self._ask_again)
        if run is not None and due and link.answers:
            # An engine that was started anew has read the files as they stand; one that an apply left midway has not.
            wrong = service.applier.verify(current.files, reload=not verified)
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
        _log.warning("not_confirmed", revision=pending.revision, back_to=pending.previous)
        message = f"Revision {pending.revision} was not confirmed in time"
        restored = service.store.propose_restore(pending.previous, author=AUTHOR, message=message)
        service.apply_locked(restored.number, Options(allow=ALL_EFFECTS, offline=True), quiet)

    def _schedule(self) -> None:
        service = self._service
        for each in service.journal.state.scheduled:
            if each.at > datetime.now(UTC):
                continue
            try:
                service.apply(each.revision, Options(allow=each.allow, confirm_s=each.confirm_s))
            except CentralinoError as error:
                _log.error("scheduled_failed", revision=each.revision, error_id=error.error_id, message=error.message)
            service.journal.update(scheduled=service.without_scheduled(each.revision))


def _settled(error: LastError | None) -> LastError | None:
    """The error to show once the engine is verified: a difference is over, other errors stay the last ones."""
    return None if error is not None and error.error_id == "engine_differs" else error
