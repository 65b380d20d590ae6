"""Edits of the call flow: each one way, through the guarded document, and what would take it back.

What takes an edit back travels with the page (a form's hidden field, or a cookie across a redirection), not on the server: it is
carried out with the rights of whoever sends it, guarded by the object's etag like any other edit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

from appliance.access.entries import Entry
from appliance.access.guarded import GuardedDocument, dangling_fault
from appliance.console.portal.forms import FormField, Widget, form_of
from appliance.core.errors import CentralinoError, Fault, InvalidError, RefusedError
from appliance.kinds import KINDS
from appliance.pbx.flow.ports import ports
from appliance.pbx.routing.model import Did, InboundRoute

UNDO_MAX: Final = 64 * 1024
"""Characters of what takes an edit back."""
STEPS_MAX: Final = 4


@dataclass(frozen=True, slots=True)
class Step:
    """One edit of one object. ``verb``: ``put`` some fields, ``add`` it, ``remove`` it. ``etag``: of the object as it must be, or as
    it was at the revision ``seen``, if others alone changed it since: both are merged then."""

    verb: str
    kind: str
    id: str
    data: Mapping[str, Any] | None = None
    etag: str = ""
    seen: int | None = None


def as_text(steps: Sequence[Step]) -> str:
    """Steps as one text."""
    return json.dumps([[one.verb, one.kind, one.id, one.data, one.etag] for one in steps], ensure_ascii=False)


def from_text(text: str) -> list[Step]:
    """The way back. Raises InvalidError."""
    try:
        if len(text) > UNDO_MAX:
            raise ValueError
        told = json.loads(text)
        if not isinstance(told, list):
            raise TypeError
        found = [Step(str(verb), str(kind), str(id), data, str(etag)) for verb, kind, id, data, etag in told]
        if len(found) > STEPS_MAX or not all(one.data is None or isinstance(one.data, dict) for one in found):
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        fault = Fault("request", "what is to be undone can't be read", "load the page again", "request")
        raise InvalidError([fault]) from None
    return found


def carry_out(guarded: GuardedDocument, steps: Sequence[Step]) -> list[Step]:
    """Do these steps; the answer takes them back. When one is refused, those before it are taken back first."""
    done: list[Step] = []
    for step in steps:
        try:
            back = _one(guarded, step)
        except CentralinoError:
            for undone in done:
                _one(guarded, undone)
            raise
        if back is not None:
            done.insert(0, back)
    return done


def _one(guarded: GuardedDocument, step: Step) -> Step | None:
    """One step, and what takes it back; None: nothing has changed."""
    data = step.data or {}
    match step.verb:
        case "put":
            before = guarded.get(step.kind, step.id)
            saved = guarded.put(step.kind, step.id, data, expected=step.etag or None, patch=True, seen=step.seen)
            return difference(before, saved)
        case "add":
            saved = guarded.put(step.kind, step.id, {**data, "id": step.id}, new=True)
            return Step("remove", step.kind, step.id, etag=saved.etag)
        case "remove":
            before = guarded.get(step.kind, step.id)
            guarded.remove(step.kind, step.id, expected=step.etag or None)
            return Step("add", step.kind, step.id, dict(before.fields))
    raise InvalidError([Fault("request", "is no edit", "load the page again", "request")])


def difference(before: Entry | None, saved: Entry) -> Step | None:
    """What takes a saved object back to what it was; None: it is the same."""
    kind, id = saved.item.kind, saved.item.id
    if before is None or before.pending == "removed":
        return Step("remove", kind, id, etag=saved.etag)
    changed = {name: value for name, value in before.fields.items() if saved.fields.get(name) != value}
    return Step("put", kind, id, changed, saved.etag) if changed else None


# -- connecting ------------------------------------------------------------------------------------------------------


def connect(
    guarded: GuardedDocument, place: str, destination: str, etag: str, seen: int | None = None
) -> tuple[Entry, list[Step]]:
    """Have an object send its calls elsewhere.

    :param place: ``kind/id/path`` of the destination field.
    :param destination: as JSON: a destination, or null for none.
    :param etag: the object's, as it was looked at.
    :param seen: number of the head when it was looked at: what others committed since is merged, or has to be chosen.
    :returns: the object as it is now, and what takes the edit back.
    :raises RefusedError: ``precondition_required``: no etag; and as `GuardedDocument.put`.
    """
    if not etag:
        raise RefusedError(
            "say which version you change",
            "load the page again, then repeat your change",
            error_id="precondition_required",
        )
    kind, id, path = split_place(place)
    entry = guarded.get(kind, id) if seen is None else guarded.get_seen(kind, id, etag, seen)
    wanted = parsed(destination, place)
    name, value = with_destination(entry, path, wanted)
    _must_be_there(guarded, entry, path, wanted)
    back = carry_out(guarded, [Step("put", kind, id, {name: value}, etag, seen)])
    return guarded.get(kind, id), back


def _must_be_there(guarded: GuardedDocument, entry: Entry, path: str, wanted: dict[str, Any] | None) -> None:
    """What was chosen may have gone meanwhile: nobody means to send calls there."""
    way = port_field(entry.item.kind, path)
    for option in way.options if way is not None and wanted is not None else ():
        one = at_once(option)
        if wanted is not None and option.name == wanted.get("type") and one is not None and one.kinds:
            id = str(wanted.get(one.name, ""))
            if not guarded.entries((kind, id) for kind in one.kinds):
                raise InvalidError([dangling_fault(entry.item, f"{path}.{one.name}", one.kinds, id[:40])])


def split_place(place: str) -> tuple[str, str, str]:
    """Kind, id and field of ``kind/id/field``. Raises InvalidError."""
    kind, _slash, rest = place.partition("/")
    id, _slash, path = rest.partition("/")
    if not (kind and id and path):
        raise InvalidError([Fault("request", "names no field of an object", "load the page again", "request")])
    return kind, id, path


def parsed(destination: str, place: str) -> dict[str, Any] | None:
    """A destination from JSON; whether it is a good one says its model. Raises InvalidError."""
    try:
        found = json.loads(destination) if len(destination) < 10_000 else ""
    except (ValueError, RecursionError):
        found = ""
    if found is not None and not isinstance(found, dict):
        raise InvalidError([Fault(place[:200], "is no destination", "choose where the calls go", "json")])
    return found


def with_destination(entry: Entry, path: str, destination: dict[str, Any] | None) -> tuple[str, Any]:
    """The object's field that the path leads into, with the destination put there. Raises InvalidError."""
    known = next((port for port in ports(entry.item) if port.path == path and port.field in entry.fields), None)
    if known is None:
        place = entry.item.path(path[:100])
        raise InvalidError([Fault(place, "is not a destination field", "look at the object again", "unknown_field")])
    if destination is None and not known.optional:
        raise InvalidError([Fault(entry.item.path(path), "is missing", "choose where the calls go", "missing")])
    first, *steps = [int(step) if step.isdigit() else step for step in re.findall(r"[^.\[\]]+", path)]
    if not steps:
        return str(first), destination
    value: Any = deepcopy(entry.fields[str(first)])
    inner = value
    for step in steps[:-1]:
        inner = inner[step]
    inner[steps[-1]] = destination
    return str(first), value


def control_name(path: str) -> str:
    """The name of a field's control in its form: ``keys[2].destination`` is ``keys-2-destination``."""
    return "-".join(re.findall(r"[^.\[\]]+", path))


def port_field(kind: str, path: str) -> FormField | None:
    """How a destination field is edited: a union. The position in a list doesn't matter."""
    fields = form_of(KINDS[kind]).fields
    found: FormField | None = None
    for step in re.findall(r"[^.\[\]]+", path):
        if step.isdigit():
            found = None if found is None else found.item
        else:
            found = next((one for one in fields if one.name == step), None)
        if found is None:
            return None
        fields = found.fields if found.item is None else found.item.fields
    return found if found is not None and found.widget is Widget.UNION and found.options else None


def at_once(option: FormField) -> FormField | None:
    """The one field that has to be chosen for an option of a destination; None: it needs its form."""
    (one,) = option.fields if len(option.fields) == 1 else (None,)
    return one if one is not None and one.widget in (Widget.REFERENCE, Widget.CHOICE) else None


# -- what a new object starts with -----------------------------------------------------------------------------------


def preset(guarded: GuardedDocument, kind: str, near: str, destination: str) -> dict[str, Any]:
    """What the form of an object starts with that is made beside another.

    :param near: ``kind/id`` (or a field of it) of the other: what both refer to (site, company) is likely to be the same.
    :param destination: as JSON: where it is to send its calls.
    """
    other = _entry_near(guarded, near)
    found: dict[str, Any] = {
        one.name: id for one in form_of(KINDS[kind]).fields if (id := _likely(guarded, one, other))
    }
    ways = [one for one in form_of(KINDS[kind]).fields if port_field(kind, one.name) is not None]
    way = next(iter(sorted(ways, key=lambda one: not one.required)), None)
    if way is not None and (to := parsed(destination or "null", f"{kind}/?/{way.name}")):
        found[way.name] = to
    if kind == InboundRoute.kind:
        found |= _rule(guarded, other, keep=way is not None and way.name in found)
    return found


def _entry_near(guarded: GuardedDocument, near: str) -> Entry | None:
    kind, _slash, rest = near.partition("/")
    if kind not in guarded.kinds():
        return None
    return guarded.entries([(kind, rest.partition("/")[0])]).get((kind, rest.partition("/")[0]))


def _likely(guarded: GuardedDocument, one: FormField, other: Entry | None) -> str | None:
    """What a required reference most likely is: the other object's, or the only one there is."""
    if one.widget is not Widget.REFERENCE or not one.required or one.placeholder:
        return None
    shared = None if other is None else other.fields.get(one.name)
    if isinstance(shared, str):
        return shared
    known = guarded.choices(one.kinds)
    return known[0][1] if len(known) == 1 else None


def _rule(guarded: GuardedDocument, other: Entry | None, *, keep: bool) -> dict[str, Any]:
    """A rule comes after those that there are; beside a number it is about that number, and changes nothing until edited."""
    document, fields = guarded.sight()
    orders = [route.order for route in document.all(InboundRoute).values() if "order" in fields(route)]
    found: dict[str, Any] = {"order": min(max(orders, default=0) + 10, 10_000)}
    if other is not None and other.item.kind == Did.kind:
        found |= {"called": other.fields.get("number", "+")}
        if not keep and "destination" in other.fields:
            found["destination"] = other.fields["destination"]
    return found
