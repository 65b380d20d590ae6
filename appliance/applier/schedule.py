"""Revisions that are to be applied at a time: at a quiet one, with every effect that their plans have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from appliance.applier.journal import LastError, Scheduled
from appliance.applier.options import ALL_EFFECTS, Options, quiet
from appliance.core.errors import CentralinoError, Fault, InvalidError, NotFoundError, UnavailableError
from appliance.store import State

if TYPE_CHECKING:
    from appliance.applier.service import Service

_log = structlog.get_logger("centralino.applier")

LATE_S: Final = 3600.0
"""Seconds after its time during which a revision is still applied: later it might not be a quiet time any more."""


def without(scheduled: tuple[Scheduled, ...], revision: int) -> tuple[Scheduled, ...]:
    """The entries but one."""
    return tuple(each for each in scheduled if each.revision != revision)


class Schedule:
    """The entries in a service's journal."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def add(self, revision: int, at: datetime, options: Options, *, staged: bool = True) -> dict[str, Any]:
        """Have a proposed revision applied at a time; its author's staging is rid of it. Faults are told now.

        :raises InvalidError: faults, or the time has passed.
        """
        service, at = self._service, at.astimezone(UTC)
        try:
            if at <= datetime.now(UTC):
                raise InvalidError([Fault("--at", "is in the past", "name a time to come", "time")])
            found = service.plan(revision)
            with service.exclusively():
                entry = Scheduled(
                    revision=revision, at=at, allow=ALL_EFFECTS, confirm_s=options.confirm_s, staged=staged
                )
                service.journal.update(scheduled=(*service.journal.state.scheduled, entry))
                service.store.unstage(revision)
        except CentralinoError as error:
            service.fail(revision, error.message)
            raise
        return {"revision": revision, "state": "scheduled", "at": at.isoformat(), "effect": found["effect"]}

    def cancel(self, revision: int) -> dict[str, Any]:
        """Give it up; what was staged for it is staged again. :raises NotFoundError: it isn't scheduled."""
        service = self._service
        with service.exclusively():
            entry = next((each for each in service.journal.state.scheduled if each.revision == revision), None)
            if entry is None:
                raise NotFoundError(
                    f"revision {revision} isn't scheduled", "centralino schedule list shows those that are"
                )
            self._give_up(entry, "it was taken off the schedule")
        return {"revision": revision, "state": "cancelled"}

    def renumber(self, old: int, new: int) -> None:
        """A revision has got another number. Under the service's lock, as what follows."""
        found = self._service.journal.state.scheduled
        if any(each.revision == old for each in found):
            moved = tuple(each.model_copy(update={"revision": new}) if each.revision == old else each for each in found)
            self._service.journal.update(scheduled=moved)

    def work_off(self) -> None:
        """Apply what is due. What can't be now is tried again, for an hour.

        :raises UnavailableError: the engine, the store or the disk doesn't let it now.
        """
        service = self._service
        for entry in service.journal.state.scheduled:
            late = (datetime.now(UTC) - entry.at).total_seconds()
            if late < 0:
                continue
            if service.journal.state.confirm is not None:
                if late > LATE_S:
                    self._give_up(entry, "another revision waited to be confirmed")
                continue
            if late > LATE_S:
                self._give_up(entry, "it couldn't be applied within an hour of its time")
                continue
            try:
                options = Options(allow=entry.allow, confirm_s=entry.confirm_s, keep_open=True)
                done = service.apply_locked(entry.revision, options, quiet)
            except UnavailableError:
                raise
            except CentralinoError as error:
                self._give_up(entry, error.message, error.error_id)
            else:
                remaining = without(without(service.journal.state.scheduled, entry.revision), done["revision"])
                service.journal.update(scheduled=remaining)

    def _give_up(self, entry: Scheduled, reason: str, error_id: str = "not_applied") -> None:
        service = self._service
        _log.warning("scheduled_given_up", revision=entry.revision, reason=reason)
        service.fail(entry.revision, reason)
        if entry.staged and service.store.revision(entry.revision).state is State.FAILED:
            service.store.restage(entry.revision)
        service.journal.update(
            scheduled=without(service.journal.state.scheduled, entry.revision),
            last_error=LastError(revision=entry.revision, error_id=error_id, message=reason),
        )
