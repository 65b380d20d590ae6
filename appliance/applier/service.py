"""The applier's operations, over the document in memory; one apply at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from appliance.applier import admission
from appliance.applier import plan as plans
from appliance.applier.apply import KEPT, Applier, Progress, RevertedError
from appliance.applier.blame import blame
from appliance.applier.checkpoint import checkpoint
from appliance.applier.collect import Collector
from appliance.applier.confirm import LONGEST_S, Pending
from appliance.applier.convergence import converged
from appliance.applier.desired import Desired
from appliance.applier.generations import Generation
from appliance.applier.handing import Handing
from appliance.applier.journal import Collect, Journal, LastError, Transaction, now
from appliance.applier.options import Configuration, Options, Timed, quiet
from appliance.applier.plan import Files
from appliance.applier.schedule import Schedule, without
from appliance.core.asterisk import UncarriableError
from appliance.core.document import Document, changes
from appliance.core.errors import (
    CentralinoError,
    ConflictError,
    Fault,
    InvalidError,
    RefusedError,
    UnavailableError,
)
from appliance.core.plan import CollectState, Effect, Plan
from appliance.store import State, Store
from appliance.verify import verify

_log = structlog.get_logger("centralino.applier")

BUSY_S: Final = 60.0
"""Seconds that a request waits for the apply before it."""


class Service:
    """See :mod:`appliance.applier`."""

    def __init__(self, store: Store, journal: Journal, desired: Desired, applier: Applier, handing: Handing) -> None:
        self.store = store
        self.journal = journal
        self.desired = desired
        self.applier = applier
        self.handing = handing
        self._lock = threading.Lock()
        self._held: Configuration | None = None
        self._hindrance: CentralinoError | None = None
        self._rules: dict[str, Any] = {"revision": None, "checked": None, "trouble": ""}
        self.schedule = Schedule(self)
        self.collector = Collector(journal, applier.link)

    @property
    def current(self) -> Configuration:
        """What is committed and in force. :raises UnavailableError: the applier is still starting, or can't."""
        if self._held is not None:
            return self._held
        if self._hindrance is None:
            raise UnavailableError("the applier is starting", "try again in a few seconds", error_id="starting")
        raise UnavailableError(
            f"the applier can't start yet: {self._hindrance.message}", self._hindrance.hint, error_id="starting"
        )

    @property
    def idle(self) -> bool:
        """Whether it has converged and nothing is being changed."""
        return self._held is not None and not self._lock.locked()

    @contextlib.contextmanager
    def exclusively(self, wait_s: float | None = None) -> Iterator[None]:
        """Hold off every other change. :raises UnavailableError: ``busy``: another one takes too long."""
        if not self._lock.acquire(timeout=BUSY_S if wait_s is None else wait_s):
            raise UnavailableError("another change is being applied", "wait, then try again", error_id="busy")
        try:
            yield
        finally:
            self.applier.link.close()
            self._lock.release()

    # Start

    def converge(self) -> None:
        """Put the newest committed revision in force, whatever was under way when the applier ended.

        :raises CentralinoError: the store or the disk refuses; call again later.
        """
        with self.exclusively():
            try:
                self.converge_locked()
            except CentralinoError as error:
                self._hindrance = error
                raise

    def converge_locked(self) -> None:
        self._held = converged(self, first=self._held is None)
        with self._forgiving("loading the firewall's rules"):  # upkeep tries again: the engine mustn't wait for it
            self.enforce()
        with self._forgiving("handing out secrets"):
            self.hand_out(self._held.document)

    def hold(self, configuration: Configuration) -> None:
        """The same revision, by other files that are in force now."""
        self._held = configuration

    def enforce(self) -> None:
        """Load the firewall's rules if they aren't loaded. :raises CentralinoError: the kernel refuses them."""
        try:
            if self.applier.enforce(self.current.files):
                _log.warning("firewall_loaded", revision=self.current.revision)
        except CentralinoError as error:
            self._rules = {**self._rules, "trouble": error.message}
            raise
        checked = datetime.now(UTC).isoformat(timespec="seconds")
        self._rules = {"revision": self.current.revision, "checked": checked, "trouble": ""}

    def hand_out(self, document: Document) -> None:
        """Let other processes have the secrets that they need. :raises CentralinoError: the disk refuses."""
        key = self.desired.key.stamp()
        if self.handing.due(document, key):
            self.handing.follow(document, key, self.desired.secrets(document))

    def follow_store(self) -> None:
        """Converge when something is left to settle, or when the store holds a newer revision than ours: an answer
        to a commit that was lost, or an import into an empty store."""
        if self.journal.state.transaction is not None or self.store.head().number != self.current.revision:
            self.converge_locked()

    # Questions

    def plan(self, revision: int, *, confirm: bool = False) -> dict[str, Any]:
        """What committing a proposed revision would do. :raises InvalidError: every fault."""
        held = self.current
        self._refuse_committed(revision)
        change_set = self.store.change_set(revision)
        after = held.document.with_changes(change_set.put, change_set.remove)
        self._verified(after)
        found = self._plan(held, after)[0]
        return {**plans.as_json(found), "checkpoints": plans.checkpoints(found, confirm=confirm)}

    def faults(self, revision: int | None) -> list[Fault]:
        """Every fault of a proposed revision, or of the committed document; warnings of what is amiss on this machine."""
        document = self.current.document
        if revision is not None:
            self._refuse_committed(revision)
            change_set = self.store.change_set(revision)
            document = document.with_changes(change_set.put, change_set.remove)
        return [*verify(document), *self.desired.faults(document)]

    def state(self) -> dict[str, Any]:
        """What is in force, and what waits."""
        held, state = self.current, self.journal.state
        confirm = state.confirm
        return {
            "revision": held.revision,
            "generation": state.generation,
            "verified": state.verified,
            "busy": self._lock.locked(),
            "applying": state.transaction.revision if state.transaction else None,
            "confirm": None
            if confirm is None
            else {"revision": confirm.revision, "previous": confirm.previous, "left_s": confirm.left(now())},
            "scheduled": [{"revision": each.revision, "at": each.at.isoformat()} for each in state.scheduled],
            "firewall": None if self.applier.firewall is None else self._rules,
            "last_error": state.last_error.model_dump() if state.last_error else None,
            "names": self.desired.names.told(),
        }

    def seal(self, id: str, clear: str) -> str:
        """A secret's text as the document holds it. :raises CentralinoError: there is no key to seal it with."""
        return self.desired.key.seal(id, clear)

    def check(self) -> list[str]:
        """Ask the engine for everything; what it holds otherwise than it should."""
        with self.exclusively():
            self.applier.link.ping()
            wrong = self.applier.verify(self.current.known, reload=False)
            wrong += self.applier.link.doors(self.current.files).mismatches
        return [str(mismatch) for mismatch in wrong]

    # Changes

    def apply(self, revision: int, options: Options, progress: Progress = quiet) -> dict[str, Any]:
        """Verify, plan, apply, read back and commit a proposed revision.

        :raises InvalidError: faults of the document. RefusedError: effects that weren't asked for, or a revision
            waits to be confirmed. ConflictError: somebody else changed the same. ApplyError: the engine didn't take
            it. UnavailableError: engine, store or disk. In every case what was in force still is, and the revision
            is marked failed.
        """
        with self._answering_for(revision), self.exclusively():
            self._refuse_while_pending()
            return self.apply_locked(revision, options, progress)

    @contextlib.contextmanager
    def _answering_for(self, revision: int) -> Iterator[None]:
        """A proposal that never got as far as being applied doesn't stay open: nobody waits for it any more."""
        try:
            yield
        except CentralinoError as error:
            self.fail(revision, error.message)
            raise

    def confirm(self, revision: int | None = None) -> dict[str, Any]:
        """Keep what was committed with a confirm window. :raises RefusedError: nothing waits."""
        with self.exclusively():
            pending = self.journal.state.confirm
            if pending is None or (revision is not None and pending.revision != revision):
                raise RefusedError(
                    "no revision waits to be confirmed", "centralino history", error_id="nothing_pending"
                )
            if pending.left(now()) <= 0:
                raise RefusedError("the time to confirm is over: it is being undone", error_id="confirm_late")
            self.journal.update(confirm=None)
            self.collector.begin(self.current.document)
            _log.info("confirmed", revision=pending.revision)
        return {"revision": pending.revision, "state": "confirmed"}

    def rollback(
        self, number: int, author: str, message: str, options: Options, progress: Progress = quiet
    ) -> dict[str, Any]:
        """A new revision with the content of an old one. Rolling back ends a confirm window."""
        with self.exclusively():
            return self.apply_locked(self._proposed_back(number, author, message), options, progress)

    def _proposed_back(self, number: int, author: str, message: str) -> int:
        message = message or f"Back to revision {number}"
        return self.store.propose_restore(number, author=author, message=message).number

    def rollback_later(self, number: int, author: str, message: str, at: datetime, options: Options) -> dict[str, Any]:
        """The same at a time. :raises InvalidError: the time has passed."""
        return self.schedule.add(self._proposed_back(number, author, message), at, options, staged=False)

    def _refuse_while_pending(self) -> None:
        pending = self.journal.state.confirm
        if pending is not None:
            raise RefusedError(
                f"revision {pending.revision} waits to be confirmed for {pending.left(now()):.0f} s more",
                "centralino confirm, or centralino rollback",
                error_id="confirm_pending",
            )

    def _refuse_committed(self, revision: int) -> None:
        """:raises RefusedError: it was committed once: its changes on top of today's document would be a mix."""
        if self.store.revision(revision).state is State.COMMITTED and revision != self.current.revision:
            raise RefusedError(
                f"revision {revision} was committed before the one in force",
                f"centralino rollback {revision} makes its content the newest",
                error_id="committed_before",
            )

    def apply_locked(self, revision: int, options: Options, progress: Progress) -> dict[str, Any]:
        timed = Timed(progress)
        progress = timed.step
        progress("preparing")
        self.follow_store()
        held = self.current
        self._refuse_committed(revision)
        number = revision
        try:
            number = self._rebased(revision)
            if number == held.revision:
                return self._in_force(number)
            change_set = self.store.change_set(number)
            progress("verifying")
            after = held.document.with_changes(change_set.put, change_set.remove)
            self._verified(after)
            progress("planning")
            plan, files = self._plan(held, after)
            online = admission.engine_answers(self.applier.link, options)
            if online:
                admission.permit(plan, options)
                admission.openable(self.applier.link, held.files, files)
            wanted = Configuration(number, after, files, held.kept - plans.written(plan))
            done = self._carry_out(wanted, held, plan, options, progress, online=online)
            return {**done, "timing": timed.seconds()}
        except (ConflictError, UnknownOutcomeError):
            raise
        except CentralinoError as error:
            if not options.keep_open:
                self.fail(number, error.message)
            self._note(number, error)
            raise
        except Exception:
            self.fail(number, "internal error")
            raise

    def _rebased(self, revision: int) -> int:
        """The number that a proposal goes on under; whoever waits for it is told the new one."""
        number = self.store.rebase(revision).number
        confirm = self.journal.state.confirm
        if number != revision and confirm is not None and confirm.restore == revision:
            self.journal.update(confirm=replace(confirm, restore=number))
        if number != revision:
            self.schedule.renumber(revision, number)
        return number

    def _in_force(self, number: int) -> dict[str, Any]:
        """The answer for a proposal that the document in force holds already."""
        confirm = self.journal.state.confirm
        return {
            "revision": number,
            "state": "in_force",
            "effect": Effect.LIVE.value,
            "verified": self.journal.state.verified,
            "confirm_left_s": confirm.left(now()) if confirm and confirm.revision == number else None,
        }

    def _verified(self, document: Document) -> None:
        found = (*verify(document), *self.desired.faults(document))
        if faults := [fault for fault in found if fault.severity == "error"]:
            raise InvalidError(faults)

    def _plan(self, held: Configuration, after: Document) -> tuple[Plan, Files]:
        files = self.desired.files(after)
        try:
            return plans.build(held.files, files, changes(held.document, after)), files
        except UncarriableError as error:
            raise blame(error, after, self.desired.secrets(after)) from error

    def _carry_out(
        self,
        wanted: Configuration,
        held: Configuration,
        plan: Plan,
        options: Options,
        progress: Progress,
        *,
        online: bool,
    ) -> dict[str, Any]:
        collect = tuple(Collect(kind=s.kind, id=s.id) for s in plan.steps if isinstance(s, CollectState))
        base = self.applier.generations.current()
        under_way = Transaction(revision=wanted.revision, from_generation=base.number if base else 0, collect=collect)
        self.journal.update(transaction=under_way)
        checkpoint("journalled")
        try:
            progress("writing")
            target = self.applier.write(plan, wanted.files, wanted.revision)
            checkpoint("generation complete")
            self.applier.switch(plan, held.files, wanted.files, target, progress, tell=online)
            pending = self._pending(wanted.revision, held.revision, options)
            if pending is not None:  # a window that is open now stays until the commit
                self.journal.update(transaction=under_way.model_copy(update={"confirm": pending}))
                checkpoint("confirm pending")
            progress("committing")
            self._promote(wanted, held, plan, base)
        except UnknownOutcomeError:
            with self._forgiving("noting an unknown outcome"):
                self.journal.update(verified=False)
            raise
        except RevertedError as error:
            self._reverted(base, verified=error.verified and self.journal.state.verified)
            raise
        except CentralinoError:
            self._reverted(base, verified=self.journal.state.verified)
            raise
        checkpoint("promoted")
        self._held = wanted
        progress("settling")
        # Only what changed was read back: an engine that still has to be asked for everything stays so.
        self._settle(wanted, target, pending, verified=online and self.journal.state.verified)
        checkpoint("pruned")
        _log.info("committed", revision=wanted.revision, generation=target.number, effect=plan.effect.value)
        return {
            "revision": wanted.revision,
            "state": "committed",
            "effect": plan.effect.value,
            "verified": online,
            "confirm_left_s": pending.left(now()) if pending else None,
        }

    @staticmethod
    def _pending(revision: int, previous: int, options: Options) -> Pending | None:
        if options.confirm_s is None:
            return None
        return Pending(revision, previous, min(options.confirm_s, LONGEST_S), now())

    def _promote(self, wanted: Configuration, held: Configuration, plan: Plan, base: Generation | None) -> None:
        """The commit point. When the store refuses, the engine goes back; when nobody knows whether it was committed,
        the transaction stays in the journal until the store says so.

        :raises UnknownOutcomeError: the latter.
        """
        try:
            self.store.promote(wanted.revision)
        except CentralinoError as error:
            try:
                if self.store.revision(wanted.revision).state is State.COMMITTED:
                    return  # it was committed; only the answer was lost
            except CentralinoError:
                raise UnknownOutcomeError(wanted.revision, error) from error
            raise self.applier.revert(plan, held.files, base, f"it couldn't be committed: {error.message}") from error

    def _reverted(self, base: Generation | None, *, verified: bool) -> None:
        """Forget the transaction, if the former generation stands. If it couldn't be put back, or the disk is too full
        to forget it, the next apply or start converges first."""
        current = self.applier.generations.current()
        with self._forgiving("forgetting a transaction"):
            if current != base:
                self.journal.update(verified=False)
                return
            self.journal.update(transaction=None, verified=verified, generation=current.number if current else 0)

    def _settle(self, wanted: Configuration, target: Generation, pending: Pending | None, *, verified: bool) -> None:
        """Everything after the commit point; the next start does the same if this is cut short."""
        under_way, confirm = self.journal.state.transaction, self.journal.state.confirm
        collect = (*self.journal.state.collect, *(under_way.collect if under_way else ()))
        if confirm is not None and confirm.restore not in (None, wanted.revision):
            self.fail(confirm.restore, f"revision {wanted.revision} came before it")
        with self._forgiving("settling"):
            self.journal.update(
                revision=wanted.revision,
                generation=target.number,
                verified=verified,
                transaction=None,
                confirm=pending,
                collect=collect,
                scheduled=without(self.journal.state.scheduled, wanted.revision),
                last_error=None,
            )
            checkpoint("settled")
            with self._forgiving("handing out secrets"):
                self.hand_out(wanted.document)
            checkpoint("handed out")
            self.collector.begin(wanted.document)
            checkpoint("collected")
            self.applier.generations.prune(KEPT)

    @contextlib.contextmanager
    def _forgiving(self, what: str) -> Iterator[None]:
        """After the commit point nothing may turn a success into a failure: it is logged, and done again later."""
        try:
            yield
        except CentralinoError as error:
            _log.error("left_for_later", what=what, error_id=error.error_id, message=error.message)

    def fail(self, revision: int, reason: str) -> None:
        """Mark a proposal as failed, if it is one still and the store is there."""
        with self._forgiving("marking a revision failed"):
            if self.store.revision(revision).state is State.PROPOSED:
                self.store.fail(revision, reason)

    def _note(self, revision: int, error: CentralinoError) -> None:
        with self._forgiving("noting an error"):
            self.journal.update(last_error=LastError(revision=revision, error_id=error.error_id, message=error.message))
        _log.warning("not_applied", revision=revision, error_id=error.error_id, message=error.message)


class UnknownOutcomeError(UnavailableError):
    """The store fell silent at the commit point: the revision is committed or not, and the store will say."""

    def __init__(self, revision: int, cause: CentralinoError) -> None:
        super().__init__(
            f"nobody knows yet whether revision {revision} was committed: {cause.message}",
            "it is settled as soon as the database answers: centralino history",
            error_id="outcome_unknown",
        )
