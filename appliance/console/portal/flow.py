"""The call flow: pages that show where calls from outside go, and what is edited there. Translates requests, decides nothing.

``/flow`` is the whole company; ``?did=main`` (or ``?number=+39…``) what happens to one number; ``?q=…`` a part. Edits come to the
same address and get the page back as it is then, so that they work in place; adding is the ordinary form's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from flask import Blueprint, Response, jsonify, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from appliance import labels
from appliance.access.conflicts import Conflicts
from appliance.access.entries import Entry
from appliance.access.guarded import GuardedDocument
from appliance.access.transactions import Transactions
from appliance.console.portal.cells import words
from appliance.console.portal.conflict_view import conflict_url, merged_words
from appliance.console.portal.errands import COOKIE, carried
from appliance.console.portal.flow_edit import (
    Step,
    as_text,
    at_once,
    carry_out,
    connect,
    from_text,
    port_field,
    split_place,
)
from appliance.console.portal.flow_view import WIDTH, Shower, fit, listed, picture, starts_of
from appliance.console.portal.forms import FormField, Widget, title_of
from appliance.console.portal.page_context import OFFERED_MAX, Offer
from appliance.console.problems import status_of
from appliance.core.document import Document
from appliance.core.errors import CentralinoError, Fault, InvalidError, NotFoundError, RefusedError
from appliance.i18n import _, translated
from appliance.kinds import KINDS
from appliance.pbx.flow.graph import Fields, Graph, Key, Mark, Node, flow
from appliance.pbx.flow.ports import receiving, sends
from appliance.pbx.flow.views import View, lines, of_number, whole
from appliance.pbx.routing.model import Did
from appliance.verify import check

NUMBER: Final = re.compile(r"\+[1-9][0-9]{4,14}")
TOLD: Final = frozenset({"dangling_reference", "routing_loop"})
"""Faults that the picture shows by itself."""
LISTED_MAX: Final = 50
"""Members of a bundle that the list names."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What has just been done: what is said, what takes it back, where to choose if others did otherwise, or what was wrong."""

    said: str = ""
    undo: tuple[Step, ...] = ()
    error: CentralinoError | None = None
    focus: str = ""
    both_changed: str = ""
    choose: str = ""


def sending() -> tuple[str, ...]:
    """Kinds with a destination field."""
    return tuple(kind for kind, model in KINDS.items() if sends(model))


def flow_pages(document: Callable[[], GuardedDocument], transactions: Callable[[], Transactions]) -> Blueprint:
    """The pages. ``document``, ``transactions``: as the request's subject may see and change them."""
    pages = Blueprint("flow", __name__)

    @pages.route("/flow", methods=["GET", "POST"])
    def show() -> AnyResponse:
        """The call flow of a company, or of a number."""
        guarded = document()
        _must_see(guarded)
        if request.method == "GET" and (found := _redirected(guarded)) is not None:
            return found
        done = _act(guarded, transactions().conflicts) if request.method == "POST" else _returned(guarded)
        page = make_response(_page(guarded, transactions(), done), status_of(done.error) if done.error else 200)
        if request.cookies.get(COOKIE):
            page.delete_cookie(COOKIE, path="/")
        return page

    @pages.get("/flow/targets")
    def targets() -> Response:
        """Where a destination field may lead: ``{"choices": [{"value": a destination as JSON, "label"}], "more"}``."""
        guarded = document()
        _must_see(guarded)
        kind, id, path = split_place(request.args.get("place", ""))
        way = port_field(kind, path) if kind in guarded.kinds() else None
        guarded.get(kind, id)
        if way is None:
            raise NotFoundError("there is no such field", "load the page again")
        found = _targets(way, Offer(guarded), request.args.get("q", "")[:200])
        return jsonify(
            choices=[{"value": value, "label": label} for value, label in found[:OFFERED_MAX]],
            more=max(0, len(found) - OFFERED_MAX),
        )

    return pages


def _must_see(guarded: GuardedDocument) -> None:
    if not any(guarded.subject.may(kind) for kind in sending()):
        raise NotFoundError("there is nothing at this address", "look at the menu")


# -- edits -----------------------------------------------------------------------------------------------------------


def _act(guarded: GuardedDocument, conflicts: Conflicts) -> _Done:
    """Carry out what the request's form says; the page tells what came of it."""
    form = request.form
    try:
        match form.get("_do", ""):
            case "connect":
                return _connect(guarded, conflicts, form.get("place", ""), form.get("destination", ""))
            case "remove":
                return _remove(guarded, form.get("object", ""), form.get("_etag", ""))
            case "undo":
                back = carry_out(guarded, from_text(form.get("steps", "")))
                focus = "/".join((back[0].kind, back[0].id)) if back else ""
                return _Done(_("The last edit is taken back."), tuple(back), focus=focus)
        raise InvalidError([Fault("request", "is no edit", "load the page again", "request")])
    except CentralinoError as error:
        return _Done(error=error)


def _connect(guarded: GuardedDocument, conflicts: Conflicts, place: str, destination: str) -> _Done:
    seen = request.form.get("_seen", type=int)
    entry, back = connect(guarded, place, destination, request.form.get("_etag", ""), seen)
    kind, id, path = split_place(place)
    name = title_of({**entry.fields, "id": entry.item.id})
    focus = f"{entry.item.kind}/{entry.item.id}"
    conflict = conflicts.of(kind, id)
    if conflict is not None and conflict.clashes:
        return _Done(
            undo=tuple(back),
            focus=focus,
            both_changed=name,
            choose=conflict_url(kind, id, request.full_path.rstrip("?")),
        )
    way, value = port_field(kind, path), json.loads(destination)
    where = words(way, value, Offer(guarded).names) if way is not None and value is not None else ""
    if not back:
        said = _("{name} led there already.").format(name=name)
    elif where:
        said = _("Calls of {name} go on to: {where}.").format(name=name, where=where)
    else:
        said = _("Calls of {name} aren't sent on any more.").format(name=name)
    if conflict is not None:
        said = f"{said} {merged_words(kind, conflict.merged)}"
    return _Done(said, tuple(back), focus=focus)


def _remove(guarded: GuardedDocument, object: str, etag: str) -> _Done:
    kind, _slash, id = object.partition("/")
    if not etag:
        raise RefusedError(
            "say which version you change",
            "load the page again, then repeat your change",
            error_id="precondition_required",
        )
    back = carry_out(guarded, [Step("remove", kind, id, etag=etag)])
    return _Done(_("{name} will be removed when you commit.").format(name=id), tuple(back))


def _returned(guarded: GuardedDocument) -> _Done:
    """What a form did that was opened from here, as the address tells; only what is true."""
    kind, _slash, id = (request.args.get("saved") or request.args.get("removed") or "").partition("/")
    if not id or kind not in guarded.kinds():
        return _Done()
    entry = guarded.entries([(kind, id)]).get((kind, id))
    if request.args.get("removed"):
        gone = entry is None or entry.pending == "removed"
        return (
            _Done(_("{name} will be removed when you commit.").format(name=id), tuple(carried())) if gone else _Done()
        )
    if entry is None or not entry.pending:
        return _Done()
    name, focus = title_of({**entry.fields, "id": id}), f"{kind}/{id}"
    if request.args.get("unlinked"):
        said = _("{name} is made, but nothing leads to it: what you wanted to connect it to has changed meanwhile.")
        return _Done(said.format(name=name), tuple(carried()), focus=focus)
    said = _("{name} is among your changes. It takes effect when you commit them.").format(name=name)
    return _Done(said, tuple(carried()), focus=focus)


# -- where calls may go ----------------------------------------------------------------------------------------------


def _targets(way: FormField, offer: Offer, text: str) -> list[tuple[str, str]]:
    """Everything that a destination field can be set to at once and that has every word of a text; few things before many."""
    found: list[tuple[str, str]] = []
    for option in sorted(way.options, key=_few_first):
        one = at_once(option)
        if one is None:
            continue
        known = one.choices if one.widget is Widget.CHOICE else tuple(offer.names(one).items())
        for value, label in known:
            shown = translated(label) if one.widget is Widget.CHOICE else label
            data = json.dumps({"type": option.name, one.name: value})
            found.append((data, f"{translated(option.label)}: {shown}"))
    wanted = text.casefold().split()
    return [(value, label) for value, label in found if all(word in f"{label} {value}".casefold() for word in wanted)]


def _few_first(option: FormField) -> int:
    """What sends calls on before choices, and both before what there are thousands of."""
    one = at_once(option)
    if one is None or one.widget is Widget.CHOICE:
        return 1
    return 0 if any(sends(KINDS[kind]) for kind in one.kinds) else 2


# -- the page --------------------------------------------------------------------------------------------------------


def _redirected(guarded: GuardedDocument) -> AnyResponse | None:
    """From a number as it was typed to its page."""
    typed = request.args.get("number", "").strip()[:40]
    if not typed:
        return None
    number = _e164(guarded, typed)
    document, fields = guarded.sight()
    did = next((did for did in document.all(Did).values() if did.number == number and "number" in fields(did)), None)
    if did is not None:
        return redirect(url_for("flow.show", did=did.id), 303)
    return None if number in ("", typed) else redirect(url_for("flow.show", number=number), 303)


def _e164(guarded: GuardedDocument, typed: str) -> str:
    """A number as people write it; one of ours also by its end, or its label's id. Empty: it is none."""
    text = re.sub(r"[\s()./-]", "", typed)
    text = re.sub(r"^00", "+", text)
    if NUMBER.fullmatch(text):
        return text
    document, fields = guarded.sight()
    ours = [did.number for did in document.all(Did).values() if "number" in fields(did) and did.number.endswith(text)]
    return ours[0] if text.isascii() and text.isdigit() and len(ours) == 1 else ""


@dataclass(frozen=True, slots=True)
class _Looked:
    """What is looked at: a view, and how it is called."""

    view: View
    graph: Graph
    number: str = ""
    near: str = ""
    start: tuple[Key, ...] = ()
    missing: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


def _look(guarded: GuardedDocument, document: Document, fields: Fields) -> _Looked:
    """The part of the flow that the address names."""
    graph = flow(document, fields, whole=all(guarded.sees_all(kind) for kind in sending()))
    did = document.find(Did, request.args.get("did", "")[:40])
    if did is not None and "number" in fields(did):
        view = of_number(graph, document, did.number, fields)
        return _Looked(view, graph, did.number, f"did/{did.id}", (("did", did.id),), query={"did": did.id})
    typed = request.args.get("number", "").strip()[:40]
    if typed and NUMBER.fullmatch(typed):
        view = of_number(graph, document, typed, fields)
        return _Looked(view, graph, typed, start=(("called", typed),), query={"number": typed})
    text, problems = request.args.get("q", "").strip()[:200], bool(request.args.get("problems"))
    query = {name: value for name, value in (("q", text), ("problems", "1" if problems else "")) if value}
    wanted = _wanted(graph, fields, text, problems=problems) if query else None
    view = whole(graph, lines(document, fields), wanted)
    return _Looked(view, graph, missing=typed or request.args.get("did", ""), query=query)


def _wanted(graph: Graph, fields: Fields, text: str, *, problems: bool) -> list[Key]:
    """Nodes that have every word of a text, and something wrong with them if that is asked for."""
    words_wanted = text.casefold().split()
    return [
        key
        for key, node in graph.nodes.items()
        if (not problems or node.marks - {Mark.DEAD_END})
        and all(word in _text_of(node, fields) for word in words_wanted)
    ]


def _text_of(node: Node, fields: Fields) -> str:
    """What a node is found by."""
    shown = translated(labels.of_kind(node.kind)) if node.kind in KINDS else ""
    if node.item is None:
        return f"{shown} {node.id}".casefold()
    item, seen = node.item, fields(node.item)
    names = [name for name in ("id", "number", "name", "label", "called", "caller") if name in seen]
    return " ".join([shown, *(str(getattr(item, name)) for name in names if getattr(item, name, None))]).casefold()


def _page(guarded: GuardedDocument, asked: Transactions, done: _Done) -> str:
    seen = guarded.head()  # before the document is read: what is committed in between counts as somebody else's
    document, fields = guarded.sight()
    looked = _look(guarded, document, fields)
    graph = looked.view.graph
    entries = guarded.entries([key for key, node in graph.nodes.items() if node.item is not None])
    names = Offer(guarded).names
    shower = Shower(
        entries, names, _others(asked), _faults(guarded, document), _form_url(looked), _look_url, guarded.sees_all
    )
    drawn = picture(graph, shower)
    return render_template(
        "flow/flow.html",
        looked=looked,
        drawn=drawn,
        items=listed(graph, drawn, looked.start or starts_of(graph)),
        lines=[box for box in drawn.boxes if box.node.kind == "trunk"],
        palette=_palette(guarded, looked),
        members=_members(guarded, graph),
        count=sum(1 for node in looked.graph.nodes.values() if node.marks - {Mark.DEAD_END}),
        here=_here(looked),
        seen=seen,
        done=done,
        undo=as_text(done.undo) if done.undo else "",
        error_faults=_told_faults(done.error),
        editable=any(row.editable for box in drawn.boxes for row in box.rows),
        width=WIDTH,
        fit=fit,
    )


def _here(looked: _Looked) -> str:
    """This page's address, without what only told of a form."""
    values: dict[str, Any] = dict(looked.query)
    return url_for("flow.show", **values)


def _form_url(looked: _Looked) -> Callable[[str, str], str]:
    here = _here(looked)

    def url(kind: str, id: str) -> str:
        return url_for("portal.edit_any" if id == "new" else "portal.edit", kind=kind, id=id, next=here)

    return url


def _look_url(node: Node) -> str:
    """The flow of a number, or the numbers of a bundle's target."""
    if isinstance(node.item, Did):
        return url_for("flow.show", did=node.id)
    return ""


def _palette(guarded: GuardedDocument, looked: _Looked) -> list[tuple[str, str, bool, bool]]:
    """Kinds that the reader may add: kind, address of the form, whether it sends calls on, whether calls are sent to it."""
    here, senders, receivers = _here(looked), sending(), receiving(KINDS.values())
    return [
        (
            kind,
            url_for("portal.new", kind=kind, next=here, near=looked.near or None),
            kind in senders,
            kind in receivers,
        )
        for kind in KINDS
        if kind in {*senders, *receivers} and kind in guarded.kinds() and guarded.may_add(kind)
    ]


def _members(guarded: GuardedDocument, graph: Graph) -> dict[Key, tuple[list[tuple[str, str]], int]]:
    """Bundle → its first members (address, name), and how many more there are."""
    found = {}
    for key, node in graph.nodes.items():
        if node.bundled:
            entries = guarded.entries(node.bundled[:LISTED_MAX])
            named = [(_address_of(entry), _name_of(entry)) for entry in entries.values()]
            found[key] = (sorted(named, key=lambda pair: pair[1]), max(0, len(node.bundled) - LISTED_MAX))
    return found


def _address_of(entry: Entry) -> str:
    if entry.item.kind == Did.kind:
        return url_for("flow.show", did=entry.item.id)
    return url_for(
        "portal.edit_any" if entry.item.id == "new" else "portal.edit", kind=entry.item.kind, id=entry.item.id
    )


def _name_of(entry: Entry) -> str:
    title, number = title_of({**entry.fields, "id": entry.item.id}), entry.fields.get("number")
    return f"{number} {title}" if number and number != title else title


def _others(asked: Transactions) -> dict[str, str]:
    """Object's path → who else is changing it."""
    found: dict[str, dict[str, None]] = {}
    for who, what in asked.others().items():
        for change in what:
            found.setdefault("/".join(change.path.split("/")[:2]), {})[who] = None
    return {path: ", ".join(who or _("somebody else") for who in several) for path, several in found.items()}


def _faults(guarded: GuardedDocument, document: Document) -> dict[str, list[str]]:
    """Object's path → what is wrong with it, for who may see everything that a check speaks of."""
    if not all(guarded.sees_all(kind) for kind in KINDS):
        return {}
    found: dict[str, list[str]] = {}
    for fault in _checked(document):
        if fault.error_id not in TOLD:
            place = "/".join(fault.path.split("/")[:2])
            found.setdefault(place, []).append(translated(fault.message))
    return found


@lru_cache(maxsize=4)
def _checked(document: Document) -> tuple[Fault, ...]:
    return check(document)


def _told_faults(error: CentralinoError | None) -> Iterable[Fault]:
    return error.faults if isinstance(error, InvalidError) else ()
