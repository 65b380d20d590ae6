"""The applier's operations, over the document in memory; one apply at a time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from appliance.applier import plan as plans
from appliance.applier.apply import KEPT, Applier, Progress, RevertedError
from appliance.applier.checkpoint import checkpoint
from appliance.applier.collect import Collector
from appliance.applier.confirm import LONGEST_S, Pending
from appliance.applier.desired import Desired
from appliance.applier.generations import Generation
from appliance.applier.journal import Collect, Journal, LastError, Scheduled, Transaction, now
from appliance.applier.plan import Files
from appliance.core.document import Document, changes
from appliance.core.errors import CentralinoError, ConflictError, Fault, InvalidError, RefusedError, UnavailableError
from appliance.core.plan import CollectState, Effect, Plan
from appliance.store import Revision, State, Store
from appliance.verify import verify

_log = structlog.get_logger("centralino.applier")

BUSY_S: Final = 60.0
"""Seconds that a request waits for the apply before it."""
ALL_EFFECTS: Final = tuple(effect.value for effect in Effect)


@dataclass(frozen=True, slots=True)
class Configuration:
    """A committed revision: its document and the files made of it."""

    revision: int
    document: Document
    files: Files


@dataclass(frozen=True, slots=True)
class Options:
    """How a revision is to be applied.

    ``allow``: effects beyond *live* that are wanted. ``confirm_s``: go back unless confirmed within so many seconds.
    ``offline``: when the engine doesn't run, write the files for its next start.
    """

    allow: tuple[str, ...] = ()
    confirm_s: float | None = None
    offline: bool = False


def quiet(_: str) -> None:
    """No progress shown."""


class Timed:
    """A progress that also takes the time of each step."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._began: list[tuple[str, float]] = []

    def step(self, text: str) -> None:
        """The step before has ended, this one begins."""
        self._began.append((text, time.monotonic()))
        self._progress(text)

    def seconds(self) -> dict[str, float]:
        """Step → seconds it took; the last one until now."""
        ends = [*(began for _, began in self._began[1:]), time.monotonic()]
        return {text: round(end - began, 4) for (text, began), end in zip(self._began, ends, strict=True)}


class Service:
    """See :mod:`appliance.applier`."""

    def __init__(self, store: Store, journal: Journal, desired: Desired, applier: Applier) -> None:
        self.store = store
        self.journal = journal
        self.desired = desired
        self.applier = applier
        self._lock = threading.Lock()
        self._held: Configuration | None = None
        self.collector = Collector(journal, applier.link)

    @property
    def current(self) -> Configuration:
        """What is committed and in force. :raises UnavailableError: the applier is still starting."""
        if self._held is None:
            raise UnavailableError("the applier is starting", "try again in a few seconds", error_id="starting")
        return self._held

    @property
    def idle(self) -> bool:
        """Whether it has converged and nothing is being changed."""
        return self._held is not None and not self._lock.locked()

    @contextlib.contextmanager
    def exclusively(self, wait_s: float = BUSY_S) -> Iterator[None]:
        """Hold off every other change. :raises UnavailableError: ``busy``: another one takes too long."""
        if not self._lock.acquire(timeout=wait_s):
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
            self.converge_locked()

    def converge_locked(self) -> None:
        head = self.store.head()
        document = self.store.document(head.number)
        files = self.desired.files(document)
        state = self.journal.state
        collect = (*state.collect, *self._settle_interrupted(head))
        before = self.applier.generations.current()
        generation = self._generation_of(files, head.number)
        untouched = state.transaction is None and before == generation
        self.journal.update(
            revision=head.number,
            generation=generation.number,
            transaction=None,
            collect=collect,
            confirm=state.confirm if state.confirm and state.confirm.revision == head.number else None,
            verified=untouched and state.verified,
        )
        self.applier.generations.prune(KEPT)
        if self._held is None:
            self._give_up_forgotten()
        self._held = Configuration(head.number, document, files)
        _log.info("converged", revision=head.number, generation=generation.number, unchanged=untouched)

    def _give_up_forgotten(self) -> None:
        """At the start: nobody waits any more for a revision that was proposed to the applier before this one."""
        waiting = {each.revision for each in self.journal.state.scheduled}
        for revision in self.store.open_proposals():
            if revision.number not in waiting:
                self._fail(revision.number, "the applier ended before it was applied")

    def _settle_interrupted(self, head: Revision) -> tuple[Collect, ...]:
        """Mark the revision that was under way as failed, unless it was committed just before the end."""
        under_way = self.journal.state.transaction
        if under_way is None:
            return ()
        with contextlib.suppress(CentralinoError):
            if self.store.revision(under_way.revision).state is State.COMMITTED:
                return under_way.collect
            self.store.fail(under_way.revision, f"the applier was ended while applying it; {head.number} is in force")
        _log.warning("interrupted", revision=under_way.revision)
        return ()

    def _generation_of(self, files: Files, revision: int) -> Generation:
        """The generation with exactly these files, in force: found on disk, or written."""
        generations = self.applier.generations
        texts = {name: plans.text_of(file) for name, file in files.items()}
        current = generations.current()
        candidates = [*([current] if current else []), *reversed(generations.all())]
        found = next((each for each in candidates if each.matches(texts)), None)
        if found is None:
            keep = [name for name, text in texts.items() if current is not None and current.holds(name, text)]
            writes = {name: text for name, text in texts.items() if name not in keep}
            found = generations.create(current, writes, keep, revision)
        if found != current:
            generations.switch(found)
        return found

    # Questions

    def plan(self, revision: int, *, confirm: bool = False) -> dict[str, Any]:
        """What committing a proposed revision would do. :raises InvalidError: every fault."""
        held = self.current
        change_set = self.store.change_set(revision)
        after = held.document.with_changes(change_set.put, change_set.remove)
        self._verified(after)
        found = self._plan(held, after)[0]
        return {**plans.as_json(found), "checkpoints": plans.checkpoints(found, confirm=confirm)}

    def faults(self, revision: int | None) -> list[Fault]:
        """Every fault of a proposed revision, or of the committed document."""
        document = self.current.document
        if revision is not None:
            change_set = self.store.change_set(revision)
            document = document.with_changes(change_set.put, change_set.remove)
        return list(verify(document))

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
            "last_error": state.last_error.model_dump() if state.last_error else None,
        }

    def check(self) -> list[str]:
        """Ask the engine for everything; what it holds otherwise than it should."""
        with self.exclusively():
            self.applier.link.ping()
            wrong = self.applier.verify(self.current.files, reload=False)
        return [str(mismatch) for mismatch in wrong]

    # Changes

    def apply(self, revision: int, options: Options, progress: Progress = quiet) -> dict[str, Any]:
        """Verify, plan, apply, read back and commit a proposed revision.

        :raises InvalidError: faults of the document. RefusedError: effects that weren't asked for, or a revision
            waits to be confirmed. ConflictError: somebody else changed the same. ApplyError: the engine didn't take
            it. UnavailableError: engine, store or disk. In every case what was in force still is, and the revision
            is marked failed.
        """
        with self.exclusively():
            self._refuse_while_pending(revision)
            return self.apply_locked(revision, options, progress)

    def schedule(self, revision: int, at: datetime, options: Options) -> dict[str, Any]:
        """Apply a proposed revision at a time, with every effect that its plan has. Faults are told now."""
        found = self.plan(revision)
        with self.exclusively():
            entry = Scheduled(revision=revision, at=at.astimezone(UTC), allow=ALL_EFFECTS, confirm_s=options.confirm_s)
            self.journal.update(scheduled=(*self.journal.state.scheduled, entry))
        return {"revision": revision, "state": "scheduled", "at": entry.at.isoformat(), "effect": found["effect"]}

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
            restored = self.store.propose_restore(
                number, author=author, message=message or f"Back to revision {number}"
            )
            return self.apply_locked(restored.number, options, progress)

    def _refuse_while_pending(self, revision: int) -> None:
        pending = self.journal.state.confirm
        if pending is not None:
            self._fail(revision, "another revision waits to be confirmed")
            raise RefusedError(
                f"revision {pending.revision} waits to be confirmed for {pending.left(now()):.0f} s more",
                "centralino confirm, or centralino rollback",
                error_id="confirm_pending",
            )

    def apply_locked(self, revision: int, options: Options, progress: Progress) -> dict[str, Any]:
        timed = Timed(progress)
        progress = timed.step
        progress("preparing")
        held = self._up_to_date()
        number = revision
        try:
            number = self.store.rebase(revision).number
            change_set = self.store.change_set(number)
            progress("verifying")
            after = held.document.with_changes(change_set.put, change_set.remove)
            self._verified(after)
            progress("planning")
            plan, files = self._plan(held, after)
            online = self._engine_answers(options)
            if online:
                self._permit(plan, options)
            wanted = Configuration(number, after, files)
            done = self._carry_out(wanted, held, plan, options, progress, online=online)
            return {**done, "timing": timed.seconds()}
        except ConflictError:
            raise
        except CentralinoError as error:
            self._fail(number, error.message)
            self._note(number, error)
            raise
        except Exception:
            self._fail(number, "internal error")
            raise

    def _up_to_date(self) -> Configuration:
        """The committed document; whoever else may have committed (an import into an empty store) is followed."""
        if self.store.head().number != self.current.revision or self.journal.state.transaction is not None:
            self.converge_locked()
        return self.current

    @staticmethod
    def _verified(document: Document) -> None:
        if faults := verify(document):
            raise InvalidError(faults)

    def _plan(self, held: Configuration, after: Document) -> tuple[Plan, Files]:
        files = self.desired.files(after)
        return plans.build(held.files, files, changes(held.document, after)), files

    @staticmethod
    def _permit(plan: Plan, options: Options) -> None:
        allowed = {Effect.LIVE.value, *options.allow}
        if Effect.NEEDS_RESTART.value in allowed:
            allowed.add(Effect.DROPS_CONNECTIONS.value)
        wrong = [step for step in plan.steps if step.effect.value not in allowed]
        if wrong:
            shown = "; ".join(plans.sentence(step) for step in wrong[:3])
            ask = "--allow-restart" if plan.effect is Effect.NEEDS_RESTART else "--allow-drops"
            raise RefusedError(
                f"this {plans.LABELS[plan.effect]}: {shown}",
                f"centralino commit {ask}, or at a quiet time: centralino commit --at 22:30",
                error_id=plan.effect.value,
            )

    def _engine_answers(self, options: Options) -> bool:
        """Whether to tell the engine. :raises UnavailableError: it doesn't answer, and that wasn't expected."""
        try:
            self.applier.link.ping()
        except UnavailableError as error:
            if options.offline:
                return False
            raise UnavailableError(
                f"nothing was changed: {error.message}",
                "start the engine, or have the files written for its next start: centralino commit --offline",
                error_id=error.error_id,
            ) from error
        return True

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
            if pending is not None:
                self.journal.update(confirm=pending)
                checkpoint("confirm pending")
            progress("committing")
            self._promote(wanted, held, plan, base)
        except RevertedError as error:
            self._reverted(verified=error.verified and self.journal.state.verified)
            raise
        except CentralinoError:
            self._reverted(verified=self.journal.state.verified)
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
        """The commit point. When the store refuses, the engine goes back."""
        try:
            self.store.promote(wanted.revision)
        except CentralinoError as error:
            with contextlib.suppress(CentralinoError):
                if self.store.revision(wanted.revision).state is State.COMMITTED:
                    return  # it was committed; only the answer was lost
            raise self.applier.revert(plan, held.files, base, f"it couldn't be committed: {error.message}") from error

    def _reverted(self, *, verified: bool) -> None:
        """The former generation stands: forget the transaction. If the disk is too full for that, the next apply or
        start converges first."""
        current = self.applier.generations.current()
        confirm = self.journal.state.confirm
        kept = confirm if confirm is not None and confirm.revision == self.current.revision else None
        with self._forgiving("forgetting a transaction"):
            self.journal.update(
                transaction=None, confirm=kept, verified=verified, generation=current.number if current else 0
            )

    def _settle(self, wanted: Configuration, target: Generation, pending: Pending | None, *, verified: bool) -> None:
        """Everything after the commit point; the next start does the same if this is cut short."""
        under_way = self.journal.state.transaction
        collect = (*self.journal.state.collect, *(under_way.collect if under_way else ()))
        with self._forgiving("settling"):
            self.journal.update(
                revision=wanted.revision,
                generation=target.number,
                verified=verified,
                transaction=None,
                confirm=pending,
                collect=collect,
                scheduled=self.without_scheduled(wanted.revision),
                last_error=None,
            )
            checkpoint("settled")
            self.collector.begin(wanted.document)
            checkpoint("collected")
            self.applier.generations.prune(KEPT)

    def without_scheduled(self, revision: int) -> tuple[Scheduled, ...]:
        return tuple(each for each in self.journal.state.scheduled if each.revision != revision)

    @contextlib.contextmanager
    def _forgiving(self, what: str) -> Iterator[None]:
        """After the commit point nothing may turn a success into a failure: it is logged, and done again later."""
        try:
            yield
        except CentralinoError as error:
            _log.error("left_for_later", what=what, error_id=error.error_id, message=error.message)

    def _fail(self, revision: int, reason: str) -> None:
        with self._forgiving("marking a revision failed"):
            self.store.fail(revision, reason)

    def _note(self, revision: int, error: CentralinoError) -> None:
        with self._forgiving("noting an error"):
            noted = LastError(revision=revision, error_id=error.error_id, message=error.message)
            self.journal.update(last_error=noted, scheduled=self.without_scheduled(revision))
        _log.warning("not_applied", revision=revision, error_id=error.error_id, message=error.message)
