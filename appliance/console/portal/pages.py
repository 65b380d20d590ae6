"""Pages of every kind: list, form, deletion; and what pickers ask for. Translates requests, decides nothing.

A form's buttons that add, remove or move an entry, or search, send the whole form and get it back changed: with htmx in
place, without scripts as a page. "New …" beside a picker shows the form of that kind with the form that it was pressed in
folded up inside (``_outer``), and comes back to it with the new object chosen: nothing is kept on the server, and several
windows don't get into each other's way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from flask import Blueprint, Response, jsonify, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from appliance import labels
from appliance.access.entries import Entry
from appliance.access.guarded import GuardedDocument
from appliance.console.api.requests import transactions
from appliance.console.portal.conflict_view import conflict_url, lines, merged_words
from appliance.console.portal.errands import Errand
from appliance.console.portal.forms import (
    Form,
    columns,
    control_of,
    filled,
    form_of,
    initial,
    lead_of,
    suggested_id,
    title_of,
)
from appliance.console.portal.page_context import Offer, add_context, safe_next, small_first
from appliance.console.portal.submission import act, field_at, placed, read, set_value
from appliance.core.errors import CentralinoError, ConflictError, Fault, InvalidError, NotFoundError, RefusedError
from appliance.i18n import LANGUAGES, _, translated
from appliance.kinds import KINDS

PAGE: Final = 50
"""Rows of a list's page."""
THEMES: Final = ("light", "dark")
YEAR_S: Final = 365 * 24 * 3600
_OWN: Final = "_"
"""Begins the names of controls that are the page's, not the object's."""

Submitted = dict[str, list[str]]


class _Portal(Blueprint):
    """Static files whose address names their version are kept by browsers."""

    def get_send_file_max_age(self, filename: str | None) -> int | None:
        return YEAR_S if request.args.get("v") else super().get_send_file_max_age(filename)


@dataclass(frozen=True, slots=True)
class Draft:
    """A form on its way: what stands in it, and how it came so. ``id`` empty: a new object; ``tried``: the id that it was to get.
    ``etag``, ``seen``: the object, and the revision in force, when the form began."""

    kind: str
    id: str
    data: dict[str, Any]
    entry: Entry | None = None
    etag: str = ""
    seen: int = 0
    faults: Sequence[Fault] = ()
    tried: str = ""
    outer: str = ""
    focus: str = ""
    said: str = ""
    found: Mapping[str, str] = field(default_factory=dict)
    """Name of a picker → what was searched for."""
    errand: Errand = field(default_factory=Errand)

    @property
    def form(self) -> Form:
        return form_of(KINDS[self.kind])


def portal(document: Callable[[], GuardedDocument]) -> Blueprint:
    """The pages. ``document``: the document as the request's subject may see it."""
    pages = _Portal(
        "portal", __name__, template_folder="templates", static_folder="static", static_url_path="/static/portal"
    )
    add_context(pages, document)
    _add_lists(pages, document)
    _add_forms(pages, document)
    _add_deletion(pages, document)

    @pages.post("/preferences")
    def preferences() -> AnyResponse:
        """Language and theme, remembered by the browser."""
        response = redirect(safe_next(request.form.get("next", "")), 303)
        secure = request.is_secure
        for name, known in (("language", LANGUAGES), ("theme", THEMES)):
            value = request.form.get(name)
            if value in known:
                response.set_cookie(name, value, max_age=YEAR_S, secure=secure, httponly=True, samesite="Lax")
            elif value == "":
                response.delete_cookie(name)
        return response

    return pages


def _known(kind: str, document: GuardedDocument) -> Form:
    if kind not in document.kinds():
        raise NotFoundError(f"there is no kind {kind[:40]!r}", "look at the list of those there are")
    return form_of(KINDS[kind])


# -- lists ----------------------------------------------------------------------------------------------------------


def _add_lists(pages: Blueprint, document: Callable[[], GuardedDocument]) -> None:
    @pages.get("/objects/<kind>")
    def listed(kind: str) -> str:
        """All objects of a kind, page by page."""
        guarded = document()
        form = _known(kind, guarded)
        text, page = request.args.get("q", "").strip()[:200], _page()
        shown = columns(form)
        sort = request.args.get("sort", "").removeprefix("-")
        sort = sort if sort == "id" or form.field(sort) else "id"
        descending = request.args.get("sort", "").startswith("-")
        found = guarded.search(kind, text=text, sort=sort, descending=descending, offset=(page - 1) * PAGE, limit=PAGE)
        last = max(1, -(-found.total // PAGE))
        return render_template(
            "portal/list.html",
            kind=kind,
            columns=shown,
            lead=lead_of(form),
            title_of=title_of,
            listing=found,
            text=text,
            sort=sort,
            descending=descending,
            page=page,
            last=last,
            first_row=(page - 1) * PAGE + 1,
            may_add=guarded.may_add(kind),
            said=_said(guarded, kind),
        )

    @pages.get("/choices")
    def choices() -> Response:
        """What a picker offers for a text: ``{"choices": [{"value", "label"}], "more": how many were left out}``."""
        kinds = [kind for kind in request.args.getlist("kind") if kind in KINDS]
        found, more = Offer(document()).matching(kinds, request.args.get("q", "")[:200])
        return jsonify(choices=[{"value": value, "label": label} for value, label in found], more=more)


def _page() -> int:
    text = request.args.get("page", "1")
    return min(max(int(text), 1), 1_000_000) if text.isascii() and text.isdigit() and len(text) < 8 else 1


def _said(guarded: GuardedDocument, kind: str) -> str:
    """What has just been done, as the address tells; only what is true."""
    id = request.args.get("saved") or request.args.get("removed")
    if not id:
        return ""
    try:
        entry = guarded.get(kind, id)
    except CentralinoError:
        entry = None
    if request.args.get("removed"):
        gone = entry is None or entry.pending == "removed"
        name = title_of(entry.fields) if entry is not None else id
        return _("{name} will be removed when you commit.").format(name=name) if gone else ""
    if entry is None or not entry.pending:
        return ""
    said = _("{name} is among your changes. It takes effect when you commit them.").format(name=title_of(entry.fields))
    return f"{said} {merged_words(kind, request.args.getlist('merged'))}".strip()


# -- forms ----------------------------------------------------------------------------------------------------------


def _add_forms(pages: Blueprint, document: Callable[[], GuardedDocument]) -> None:
    @pages.route("/objects/<kind>/new", methods=["GET", "POST"])
    def new(kind: str) -> AnyResponse | str | tuple[str, int]:
        """The form of an object that there isn't yet."""
        guarded = document()
        form = _known(kind, guarded)
        if not guarded.may_add(kind):
            raise RefusedError("you may not add one", "ask an administrator", error_id="forbidden")
        if request.method == "GET":
            errand = Errand.of(request.args)
            return show(Draft(kind, "", {**initial(form), **errand.start(guarded, kind)}, errand=errand))
        return _Posted(guarded, kind, "", _submitted(request.form)).answer()

    # Under two addresses, for an object may be called "new".
    @pages.route("/objects/<kind>/<id>/edit", endpoint="edit_any", methods=["GET", "POST"])
    @pages.route("/objects/<kind>/<id>", methods=["GET", "POST"])
    def edit(kind: str, id: str) -> AnyResponse | str | tuple[str, int]:
        """The form of one object."""
        guarded = document()
        _known(kind, guarded)
        if request.method == "POST":
            return _Posted(guarded, kind, id, _submitted(request.form)).answer()
        seen = guarded.head()
        entry = guarded.get(kind, id)
        guarded.opened(entry)
        return show(Draft(kind, id, dict(entry.fields), entry, entry.etag, seen, errand=Errand.of(request.args)))


def _submitted(form: Any) -> Submitted:
    return {name: form.getlist(name) for name in form if name != "csrf_token"}


@dataclass(frozen=True, slots=True)
class _Posted:
    """A form that came back."""

    guarded: GuardedDocument
    kind: str
    id: str
    submitted: Submitted

    def own(self, name: str) -> str:
        values = self.submitted.get(_OWN + name) or [""]
        return values[0]

    @property
    def seen(self) -> int:
        text = self.own("seen")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0

    def draft(self, *, tidy: bool) -> Draft:
        entry = self.guarded.get_seen(self.kind, self.id, self.own("etag"), self.seen) if self.id else None
        form = form_of(KINDS[self.kind])
        data = read(form, self.submitted, None if entry is None else entry.editable, tidy=tidy)
        if entry is not None:
            data = {**{name: value for name, value in entry.fields.items() if name not in entry.editable}, **data}
        elif id := (self.submitted.get("id") or [""])[0].strip():
            data["id"] = id
        errand = Errand.of({name: self.own(name) for name in ("next", "from")})
        return Draft(
            self.kind, self.id, data, entry, self.own("etag"), self.seen, outer=self.own("outer"), errand=errand
        )

    def answer(self) -> AnyResponse | str | tuple[str, int]:
        verb, _colon, rest = self.own("do").partition(":")
        if verb in ("", "save"):
            return self.save()
        if verb == "create":
            return self.create(*rest.split(":", 1))
        if verb == "back" and self.own("outer"):
            return self.resume(rest)
        return self.change()

    def change(self) -> str:
        """A button inside the form."""
        draft = self.draft(tidy=False)
        if draft.entry is not None:
            self.guarded.opened(draft.entry)
        verb, _colon, name = self.own("do").partition(":")
        if verb == "find":
            text = (self.submitted.get(f"{_OWN}find-{name}") or [""])[0].strip()
            return show(replace(draft, found={name: text}, focus=name))
        done = act(draft.form, draft.data, self.own("do"))
        at = field_at(draft.form, draft.data, done.focus) if done.focus else None
        focus = control_of(at, done.focus) if at is not None and verb == "add" else done.focus
        said = _(done.text).format(position=done.position, count=done.count)
        return show(replace(draft, focus=focus, said=said))

    def save(self) -> AnyResponse | tuple[str, int]:
        draft = self.draft(tidy=True)
        data = draft.data
        id = draft.id or data.get("id") or suggested_id(data, self.taken())
        draft = replace(draft, tried=id)
        try:
            saved = self.guarded.put(
                self.kind, id, {**data, "id": id}, expected=draft.etag or None, new=not draft.id, seen=self.seen or None
            )
        except InvalidError as error:
            return show(replace(draft, faults=error.faults)), 422
        except ConflictError as error:
            return show(self.overtaken(draft, error)), 409
        except RefusedError as error:
            place = f"{self.kind}/?/id" if error.error_id == "exists" else ""
            return show(replace(draft, faults=[Fault(place, error.message, error.hint, error.error_id)])), 422
        self.guarded.closed(self.kind, id)
        conflict = transactions().conflicts.of(self.kind, id) if draft.id else None
        if conflict is not None and conflict.clashes:
            return redirect(conflict_url(self.kind, id, draft.errand.next), 303)
        if saved.password:
            return render_template(
                "portal/account.html", kind=self.kind, entry=saved, outer=draft.outer, back=outer_title(draft.outer)
            ), 200
        if draft.outer:
            return self.resume(saved.item.id), 200
        if draft.errand.next:
            return draft.errand.back(self.guarded, saved, draft.entry)
        merged = [path.partition(".")[0] for path in conflict.merged] if conflict is not None else []
        return redirect(url_for("portal.listed", kind=self.kind, saved=saved.item.id, merged=merged or None), 303)

    def overtaken(self, draft: Draft, error: ConflictError) -> Draft:
        """The form with what was typed, after another window of one's own changed the object: on what it is now, and in each field
        that differs what it is there. Saved again, what stands here holds."""
        entry, seen = self.guarded.get(self.kind, self.id), self.guarded.head()
        faults = [Fault("", error.message, error.hint, error.error_id)]
        for one in draft.form.fields:
            there = entry.fields.get(one.name)
            if one.name in entry.editable and one.name in draft.data and draft.data[one.name] != there:
                told = ", ".join(lines(one, there, Offer(self.guarded).names)) or _("none")
                text = _("is {value} there by now").format(value=told)
                faults.append(
                    Fault(f"{self.kind}/{self.id}/{one.name}", text, _("save again to keep what stands here"))
                )
        return replace(draft, entry=entry, etag=entry.etag, seen=seen, faults=faults)

    def taken(self) -> frozenset[str]:
        return frozenset(id for _kind, id, _label in self.guarded.choices([self.kind]))

    def create(self, name: str = "", kind: str = "") -> str:
        """The form of a kind, with this one folded up inside."""
        form = _known(kind, self.guarded)
        if not self.guarded.may_add(kind):
            raise RefusedError("you may not add one", "ask an administrator", error_id="forbidden")
        kept = {key: values for key, values in self.submitted.items() if key != f"{_OWN}do"}
        outer = json.dumps({"kind": self.kind, "id": self.id, "name": name, "form": kept}, ensure_ascii=False)
        return show(Draft(kind, "", initial(form), outer=outer))

    def resume(self, chosen: str) -> str:
        """Back to the form that was folded up, with what was made in it chosen."""
        kind, id, name, submitted = unfolded(self.own("outer"))
        _known(kind, self.guarded)
        draft = _Posted(self.guarded, kind, id, submitted).draft(tidy=False)
        if chosen:
            set_value(draft.form, draft.data, name, chosen)
        said = _("{name} is made and chosen.").format(name=chosen) if chosen else ""
        return show(replace(draft, focus=name, said=said))


def unfolded(text: str) -> tuple[str, str, str, Submitted]:
    """Kind, id, name of a control, and content of a form that was folded up. Raises InvalidError."""
    try:
        outer = json.loads(text)
        form = {str(name): [str(value) for value in values] for name, values in outer["form"].items()}
        return str(outer["kind"]), str(outer["id"]), str(outer["name"]), form
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        fault = Fault("request", "the outer form can't be read", "load the page again", "request")
        raise InvalidError([fault]) from None


def show(draft: Draft) -> str:
    """The page of a form."""
    entry, form = draft.entry, draft.form
    faults = placed(form, draft.data, draft.faults, draft.kind, draft.id or draft.tried)
    visible = None if entry is None else set(entry.fields)
    editable = None if entry is None else entry.editable
    removed = entry is not None and entry.pending == "removed"
    title = title_of(entry.fields) if entry is not None else adding(draft.kind)
    conflict = transactions().conflicts.of(draft.kind, draft.id) if entry is not None and entry.pending else None
    return render_template(
        "portal/form.html",
        draft=draft,
        kind=draft.kind,
        fields=filled(form, draft.data, faults, editable, visible),
        faults=faults,
        title=title,
        read_only=removed or (entry is not None and not entry.editable),
        removed=removed,
        back=outer_title(draft.outer),
        focus="" if draft.faults else draft.focus,
        found=draft.found,
        said=draft.said,
        conflict=conflict is not None and bool(conflict.clashes),
    )


def outer_title(outer: str) -> str:
    """What the form is called that one goes back to; empty: there is none."""
    if not outer:
        return ""
    kind, id, _name, _form = unfolded(outer)
    return id or adding(kind)


def adding(kind: str) -> str:
    """What the form of a new object is called."""
    return _("Add {what}").format(what=small_first(translated(labels.of_kind(kind))))


# -- deletion -------------------------------------------------------------------------------------------------------


def _add_deletion(pages: Blueprint, document: Callable[[], GuardedDocument]) -> None:
    @pages.route("/objects/<kind>/<id>/delete", methods=["GET", "POST"])
    def delete(kind: str, id: str) -> AnyResponse | str | tuple[str, int]:
        """Asks before an object is taken out, and says what refers to it."""
        guarded = document()
        _known(kind, guarded)
        entry = guarded.get(kind, id)
        guarded.check_removal(kind, id)
        errand = Errand.of(
            request.args if request.method == "GET" else request.form, "" if request.method == "GET" else _OWN
        )
        error = None
        if request.method == "POST":
            try:
                guarded.remove(kind, id, expected=request.form.get("_etag") or None)
            except (RefusedError, ConflictError) as refused:
                error = refused
            else:
                return (
                    errand.removed(entry)
                    if errand.next
                    else redirect(url_for("portal.listed", kind=kind, removed=id), 303)
                )
        users = [(item.kind, item.id, title_of(item.model_dump(mode="json"))) for item in guarded.referrers(kind, id)]
        page = render_template(
            "portal/delete.html",
            kind=kind,
            entry=entry,
            title=title_of(entry.fields),
            users=users,
            error=error,
            errand=errand,
        )
        return (page, 409) if error else page
