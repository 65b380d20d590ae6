"""What two people changed, in words: labels of fields, and every value whole, for nobody can choose between shortened ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import url_for

from appliance.access.conflicts import Clash, Conflict
from appliance.access.entries import HIDDEN
from appliance.console.portal.cells import Names, words
from appliance.console.portal.forms import Form, FormField, Widget, form_of
from appliance.i18n import _, translated
from appliance.kinds import KINDS


@dataclass(frozen=True, slots=True)
class Row:
    """One field to choose in; values line by line, none for nothing. ``who`` made theirs, and ``when``."""

    name: str
    label: str
    began: tuple[str, ...]
    mine: tuple[str, ...]
    theirs: tuple[str, ...]
    who: str
    when: str


@dataclass(frozen=True, slots=True)
class View:
    """One object in which something is to be chosen. ``merged``: labels of what others alone changed."""

    kind: str
    id: str
    rows: tuple[Row, ...]
    merged: tuple[str, ...]
    revision: int

    @property
    def path(self) -> str:
        return f"{self.kind}/{self.id}"


def view(conflict: Conflict, names: Names) -> View:
    """A conflict in the reader's language."""
    form = form_of(KINDS[conflict.kind])
    rows = tuple(_row(form, clash, names) for clash in conflict.clashes)
    merged = tuple(dict.fromkeys(label_of(form, path) for path in conflict.merged))
    return View(conflict.kind, conflict.id, rows, merged, conflict.revision)


def _row(form: Form, clash: Clash, names: Names) -> Row:
    if not clash.name:
        was = _("It was there.") if clash.began else _("It was not there.")
        now = [_("It is there, changed.") if side else _("It is removed.") for side in (clash.mine, clash.theirs)]
        return Row("", _("The whole object"), (was,), (now[0],), (now[1],), clash.who, clash.when)
    one = field_of(form, clash.name)
    began, mine, theirs = (tuple(lines(one, value, names)) for value in (clash.began, clash.mine, clash.theirs))
    return Row(clash.name, label_of(form, clash.name), began, mine, theirs, clash.who, clash.when)


def label_of(form: Form, path: str) -> str:
    """What the field at a path is called: ``Destination: Site``."""
    found = [translated(one.label) for one in _fields_on(form.fields, path.split("."))]
    return ": ".join(found) or path


def field_of(form: Form, path: str) -> FormField | None:
    """The field at a path; None: the form has no such."""
    steps = path.split(".")
    found = _fields_on(form.fields, steps)
    return found[-1] if len(found) == len(steps) else None


def _fields_on(fields: Iterable[FormField], steps: list[str]) -> list[FormField]:
    """Fields from the outermost to the one that the steps lead to. Options of a union aren't told apart: of those that have the
    field, one is as good as another for its name."""
    one = next((field for field in fields if field.name == steps[0]), None)
    if one is None:
        return []
    if not steps[1:]:
        return [one]
    if one.widget is Widget.UNION:
        inner = [field for option in one.options for field in option.fields]
        return [one, *_fields_on(inner, steps[1:])]
    return [one, *_fields_on(one.fields, steps[1:])]


def lines(one: FormField | None, value: Any, names: Names) -> list[str]:
    """A value whole: an entry of a list, a field of a part on a line of its own."""
    if value in (None, "", [], {}):
        return []
    if value == HIDDEN:
        return [_("not to be shown")]
    if one is None:
        return [str(value)]
    match one.widget:
        case Widget.LIST if one.item is not None and isinstance(value, list):
            return [", ".join(lines(one.item, each, names)) for each in value]
        case Widget.BOXES:
            known = dict(one.choices)
            return [translated(known.get(str(each), str(each))) for each in value]
        case Widget.GROUP if isinstance(value, Mapping):
            return _group(one.fields, value, names)
        case Widget.UNION if isinstance(value, Mapping):
            option = next((option for option in one.options if option.name == value.get("type")), None)
            return [str(value)] if option is None else [translated(option.label), *_group(option.fields, value, names)]
        case Widget.LINES:
            return str(value).splitlines()
    return [words(one, value, names)]


def _group(fields: Iterable[FormField], value: Mapping[str, Any], names: Names) -> list[str]:
    told = ((one, lines(one, value.get(one.name), names)) for one in fields)
    return [f"{translated(one.label)}: {', '.join(inner)}" for one, inner in told if inner]


def conflict_url(kind: str, id: str, next: str = "") -> str:
    """Where one chooses field by field."""
    return url_for("changes.conflict", kind=kind, id=id, next=next or None)


def merged_words(kind: str, paths: Iterable[str]) -> str:
    """What somebody else alone changed, in a sentence; empty: nothing."""
    names = {path.partition(".")[0] for path in paths}
    fields = ", ".join(translated(one.label) for one in form_of(KINDS[kind]).fields if one.name in names)
    return _("What somebody else committed meanwhile is in it too: {fields}.").format(fields=fields) if fields else ""
