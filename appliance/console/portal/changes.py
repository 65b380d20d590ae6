"""The change flow: review what is pending, see what it does, commit it (for good, or until confirmed), go back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.access.guarded import GuardedDocument
from appliance.access.transactions import Commit, Transactions
from appliance.applier.confirm import LONGEST_S
from appliance.console.api.requests import document, transactions
from appliance.console.portal.changed import Told
from appliance.console.portal.conflict_view import view
from appliance.console.portal.forms import title_of
from appliance.console.portal.page_context import Offer, safe_next
from appliance.core.errors import CentralinoError, ConflictError, Fault, InvalidError, NotFoundError, UnavailableError
from appliance.core.plan import Effect
from appliance.store import FieldChange

Answer = str | Response | tuple[str, int]
BAD: Final = 422
CONFLICT: Final = 409
CHOOSE: Final = "choose-"
"""Begins the names of radio buttons."""
PAGE: Final = 50
SHOWN_MAX: Final = 200
"""Steps of a plan that a page shows."""


def changes() -> Blueprint:
    """The pages."""
    pages = Blueprint("changes", __name__)
    pages.get("/changes")(review)
    pages.post("/changes/commit")(commit)
    pages.post("/changes/discard")(discard)
    pages.post("/changes/confirm")(confirm)
    pages.get("/changes/conflict/<kind>/<id>")(conflict)
    pages.post("/changes/conflict/<kind>/<id>")(settle)
    pages.get("/history")(history)
    pages.get("/history/<int:revision>")(revision)
    pages.post("/history/<int:revision>/restore")(restore)
    return pages


def grouped(found: tuple[FieldChange, ...]) -> dict[str, list[FieldChange]]:
    """Changes by the object that they belong to: ``kind/id`` → its fields."""
    made: dict[str, list[FieldChange]] = {}
    for change in found:
        made.setdefault("/".join(change.path.split("/")[:2]), []).append(change)
    return made


def words() -> dict[str, Any]:
    """What templates of changes say things with: names and labels as the reader may see them."""
    guarded = document()
    offer = Offer(guarded)
    return {"told": Told(_Known(guarded, offer), offer.names)}


@dataclass(frozen=True, slots=True)
class _Known:
    """Names of objects, those that the reader's changes remove among them."""

    guarded: GuardedDocument
    offer: Offer

    def __call__(self, kind: str, id: str) -> str:
        if found := self.offer.of([kind]).get(id):
            return found
        try:
            return title_of(self.guarded.get(kind, id).fields)
        except NotFoundError:
            return ""


def review() -> Answer:
    """What is pending, what others have pending, and what a commit would do to the telephone system."""
    return _review(transactions())


def _review(asked: Transactions, *, error: CentralinoError | None = None, status: int = 200) -> Answer:
    mine = asked.pending()
    plan, faults, trouble = _plan(asked) if mine else (None, (), None)
    waiting = _waiting(asked)
    paths = {change.path for change in mine}
    clashing = [view(one, Offer(document()).names) for one in asked.conflicts.open()]
    page = render_template(
        "changes/review.html",
        objects=grouped(mine),
        others={who: grouped(what) for who, what in asked.others().items()},
        clashes={change.path for what in asked.others().values() for change in what} & paths,
        conflicts=clashing,
        elsewhere={"/".join(key): several for key, several in document().others(asked.keys()).items()},
        plan=plan,
        steps=[] if plan is None else plan["steps"][:SHOWN_MAX],
        more_steps=0 if plan is None else max(0, len(plan["steps"]) - SHOWN_MAX),
        faults=faults,
        trouble=None if clashing else trouble,
        waiting=waiting,
        error=error,
        **words(),
    )
    return (page, status) if status != 200 else page


def _plan(asked: Transactions) -> tuple[dict[str, Any] | None, tuple[Fault, ...], CentralinoError | None]:
    """The plan; or what is wrong with the document; or why there is no plan now."""
    try:
        return asked.plan(), (), None
    except InvalidError as error:
        return None, error.faults, None
    except CentralinoError as error:
        return None, (), error


def _waiting(asked: Transactions) -> dict[str, Any] | None:
    """The commit that waits to be confirmed; None also while the applier can't be asked."""
    try:
        found: dict[str, Any] | None = asked.state().get("confirm")
    except UnavailableError:
        return None
    return found


def commit() -> Answer:
    """Put the pending changes in force."""
    asked = transactions()
    try:
        done = asked.commit(_how())
    except CentralinoError as error:
        return _review(asked, error=error, status=BAD)
    return redirect(url_for("changes.revision", revision=done["revision"], done=1), 303)


def discard() -> Answer:
    """Forget pending changes: of one object, or all."""
    path = request.form.get("path", "")
    kind, _, id = path.partition("/")
    transactions().discard([(kind, id)] if path else None)
    return redirect(url_for("changes.review"), 303)


def conflict(kind: str, id: str) -> Answer:
    """What the reader and somebody else both changed in one object, to be chosen field by field."""
    return _conflict(kind, id)


def _conflict(kind: str, id: str, *, error: CentralinoError | None = None, status: int = 200) -> Answer:
    found = transactions().conflicts.of(kind, id)
    next = request.values.get("next", "")
    if found is None or not found.clashes:
        return redirect(_on(next), 303)
    page = render_template(
        "changes/conflict.html",
        conflict=view(found, Offer(document()).names),
        kind=kind,
        id=id,
        chosen={} if status == CONFLICT else _chosen(),
        next=_on(next) if next else "",
        error=error,
        **words(),
    )
    return (page, status) if status != 200 else page


def settle(kind: str, id: str) -> Answer:
    """Choose: mine or theirs, for every field that clashes."""
    revision = request.form.get("revision", "")
    number = int(revision) if re.fullmatch(r"[0-9]{1,9}", revision) else 0
    try:
        transactions().conflicts.settle(kind, id, _chosen(), number)
    except NotFoundError:  # settled in another window, or discarded
        return redirect(_on(request.form.get("next", "")), 303)
    except InvalidError as error:
        return _conflict(kind, id, error=error, status=BAD)
    except ConflictError as error:
        return _conflict(kind, id, error=error, status=CONFLICT)
    return redirect(_on(request.form.get("next", "")), 303)


def _chosen() -> dict[str, str]:
    """Name of a field → ``mine`` or ``theirs``, as the form says."""
    return {name.removeprefix(CHOOSE): value for name, value in request.form.items() if name.startswith(CHOOSE)}


def _on(next: str) -> str:
    """Where one goes on to."""
    return next if next and safe_next(next) == next else url_for("changes.review")


def confirm() -> Answer:
    """Keep what waits for it."""
    asked = transactions()
    try:
        done = asked.confirm()
    except CentralinoError as error:
        return _review(asked, error=error, status=BAD)
    return redirect(url_for("changes.revision", revision=done["revision"]), 303)


def history() -> Answer:
    """Who changed what, when and why."""
    before = request.args.get("before", "")
    found = transactions().history(PAGE + 1, int(before) if re.fullmatch(r"[1-9][0-9]{0,8}", before) else None)
    older = found[PAGE - 1].number if len(found) > PAGE else None
    return render_template("changes/history.html", revisions=found[:PAGE], older=older, **words())


def revision(revision: int) -> Answer:
    """One revision: what it changed."""
    return _revision(revision)


def _revision(number: int, *, error: CentralinoError | None = None, status: int = 200) -> Answer:
    asked = transactions()
    found = asked.revision(number)
    page = render_template(
        "changes/revision.html",
        revision=found,
        objects=grouped(asked.changes_of(number)),
        waiting=_waiting(asked),
        may_restore=asked.may_restore() and found.state == "committed",
        error=error,
        done="done" in request.args,
        **words(),
    )
    return (page, status) if status != 200 else page


def restore(revision: int) -> Answer:
    """Make this revision's content the newest."""
    try:
        done = transactions().rollback(revision, _how())
    except CentralinoError as error:
        if error.error_id == "forbidden":
            raise
        return _revision(revision, error=error, status=BAD)
    return redirect(url_for("changes.revision", revision=done["revision"], done=1), 303)


def _how() -> Commit:
    """What the form says."""
    minutes = request.form.get("confirm", "")
    seconds = int(minutes) * 60 if re.fullmatch(r"[0-9]{1,5}", minutes) and int(minutes) else None
    allow = [
        effect.value for effect in Effect if effect is not Effect.LIVE and effect.value in request.form.getlist("allow")
    ]
    return Commit(request.form.get("message", "")[:2000], min(seconds, LONGEST_S) if seconds else None, tuple(allow))
