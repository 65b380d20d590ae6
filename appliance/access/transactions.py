"""Plan, commit, confirm, roll back and history, as one subject may.

The subject's pending changes are proposed as a revision of its own and handed to the applier, which verifies, plans and applies
them (see docs/transactions.md). What is shown of other people's changes is what the subject may see of the objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from appliance.access.conflicts import Conflicts
from appliance.access.editing import named
from appliance.access.guarded import GuardedDocument
from appliance.access.permissions import Rights
from appliance.applier.client import ApplierClient
from appliance.core.document import Change, Document, changes
from appliance.core.errors import CentralinoError, NotFoundError, RefusedError
from appliance.core.plan import Effect
from appliance.store import FieldChange, Store, field_changes
from appliance.store.revision import Key, Revision, State


@dataclass(frozen=True, slots=True)
class Commit:
    """How pending changes are to be committed.

    :param confirm_s: seconds after which it is undone unless confirmed; None: it stays.
    :param allow: effects beyond *live* that may happen: ``drops_connections``, ``needs_restart``.
    :param at: when, with a time zone; None: now.
    """

    message: str = ""
    confirm_s: float | None = None
    allow: tuple[str, ...] = ()
    at: datetime | None = None


class Transactions:
    """One subject's way to change what is in force.

    :param applier: makes a client of the applier; called with what to do with its progress.
    """

    def __init__(
        self, store: Store, document: GuardedDocument, applier: Callable[[Callable[[str], None] | None], ApplierClient]
    ) -> None:
        self._store = store
        self._document = document
        self._applier = applier
        self._subject = document.subject

    def pending(self) -> tuple[FieldChange, ...]:
        """The subject's pending changes, field by field."""
        return tuple(found for change in self._document.pending() for found in field_changes(change))

    def keys(self) -> tuple[Key, ...]:
        """Objects that the pending changes touch."""
        staged = self._store.candidate(self._subject.id)
        return (*((item.kind, item.id) for item in staged.put), *staged.remove)

    def discard(self, keys: Iterable[Key] | None = None) -> None:
        """Forget pending changes: all, or those of some objects."""
        self._store.discard(self._subject.id, keys)

    def plan(self) -> dict[str, Any]:
        """What committing the pending changes would do to the system.

        :raises RefusedError: ``nothing_changed``, ``forbidden``.
        :raises InvalidError: every fault of the document.
        """
        self._document.check_pending()
        proposed = self._store.propose_staged(self._subject.id, "plan")
        try:
            return self._applier(None).plan(proposed.number)
        finally:
            self._store.withdraw(proposed.number)

    def commit(self, how: Commit, progress: Callable[[str], None] | None = None) -> dict[str, Any]:
        """Commit the pending changes. The answer is the applier's: revision, state, effect …

        :raises RefusedError: ``nothing_changed``; ``forbidden``; or it would do more than was asked for.
        :raises ConflictError: somebody else changed the same objects meanwhile.
        :raises ApplyError: the engine didn't take it; all is as before, and the changes are pending still.
        """
        self._check_effects(how.allow)
        self._document.check_pending()
        client = self._applier(progress)
        client.state()  # without an applier, nothing is left in the history
        revision = self._store.propose_staged(self._subject.id, how.message)
        try:
            return client.apply(revision.number, allow=how.allow, confirm_s=how.confirm_s, at=how.at)
        except CentralinoError as error:
            if error.error_id != "applier_unreachable":  # else it may be applying it: that is left to it
                self._store.withdraw(revision.number)
            raise

    def confirm(self) -> dict[str, Any]:
        """Keep what was committed with a confirm window: one's own, or anybody's who may edit revisions."""
        waiting = self._applier(None).state().get("confirm")
        if waiting is not None and self._store.revision(waiting["revision"]).author != self._subject.id:
            self._require("revisions")
        return self._applier(None).confirm(None if waiting is None else waiting["revision"])

    def rollback(self, number: int, how: Commit, progress: Callable[[str], None] | None = None) -> dict[str, Any]:
        """Commit the content of an old revision as a new one. Only for who may edit revisions."""
        self._require("revisions")
        self._check_effects(how.allow)
        return self._applier(progress).rollback(
            number, author=self._subject.id, message=how.message, allow=how.allow, confirm_s=how.confirm_s, at=how.at
        )

    def unschedule(self, number: int) -> dict[str, Any]:
        """Take a revision off the schedule: one's own, or anybody's who may edit revisions."""
        if self._store.revision(number).author != self._subject.id:
            self._require("revisions")
        return self._applier(None).unschedule(number)

    def state(self) -> dict[str, Any]:
        """What is in force, what is being applied, what waits for confirmation or its time."""
        return self._applier(None).state()

    def history(self, limit: int = 50, before: int | None = None) -> list[Revision]:
        """Revisions, newest first: all for who may see revisions, one's own for everybody."""
        found = self._store.history(limit, before)
        return found if self._subject.may("revisions") else [each for each in found if each.author == self._subject.id]

    def revision(self, number: int) -> Revision:
        """One revision. Raises NotFoundError also for other people's, to whom may not see them."""
        found = self._store.revision(number)
        if not self._subject.may("revisions") and found.author != self._subject.id:
            raise NotFoundError(f"there is no revision {number}", "look at the list of those there are")
        return found

    def may_restore(self) -> bool:
        """Whether the subject may roll back."""
        return self._subject.may("revisions", edit=True)

    def diff(self, first: int, second: int) -> tuple[FieldChange, ...]:
        """What differs between two revisions, as far as the subject may see the fields."""
        if not self._subject.may("revisions"):
            own = [self._store.revision(number).author == self._subject.id for number in (first, second)]
            if not any(own):
                raise RefusedError("you may not look at other people's revisions", error_id="forbidden")
        return self._visible(self._store.diff(first, second), self._store.document(first), self._store.document(second))

    def changes_of(self, number: int) -> tuple[FieldChange, ...]:
        """What one revision changed, or would have."""
        revision = self._store.revision(number)
        if revision.state is State.COMMITTED or revision.number == 0:
            return self.diff(revision.parent, number)
        return self._visible(
            self._store.diff(revision.parent, number),
            self._store.document(revision.parent),
            self._store.document(number),
        )

    def others(self) -> dict[str, tuple[FieldChange, ...]]:
        """Author → pending changes of other people, as far as the subject may see the fields: they may come into conflict. Those
        of everybody are under an empty name for who may not see who changed what."""
        base = self._store.document()
        found: dict[str, tuple[FieldChange, ...]] = {}
        for author in self._store.authors():
            if author != self._subject.id:
                after = self._store.candidate(author).on(base)
                visible = self._visible(changes(base, after), base, after)
                if visible:
                    who = named(self._subject, author)
                    found[who] = (*found.get(who, ()), *visible)
        return found

    @property
    def conflicts(self) -> Conflicts:
        """What the subject's pending changes and those that others committed meanwhile both changed."""
        return Conflicts(self._store, self._subject)

    def _visible(self, found: Sequence[Change], before: Document, after: Document) -> tuple[FieldChange, ...]:
        old, new = Rights(self._subject, before), Rights(self._subject, after)
        kept = []
        for change in found:
            fields: frozenset[str] = frozenset()
            for rights, item in ((old, change.before), (new, change.after)):
                fields |= rights.fields(item) if item is not None else frozenset()
            kept += [each for each in field_changes(change) if _field(each, change) in fields]
        return tuple(kept)

    def _check_effects(self, allow: Iterable[str]) -> None:
        if set(allow) - {Effect.LIVE.value}:
            self._require("system")

    def _require(self, area: str) -> None:
        if not self._subject.may(area, edit=True):
            raise RefusedError(f"this needs the permission {area}:edit", "ask an administrator", error_id="forbidden")


def _field(found: FieldChange, change: Change) -> str:
    """Name of the object's field that a path leads into; ``id`` for the object itself."""
    inner = found.path.removeprefix(change.path).removeprefix("/")
    return inner.partition(".")[0].partition("[")[0] or "id"
