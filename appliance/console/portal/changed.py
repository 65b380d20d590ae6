"""Changes and faults as people read them: names of objects, labels of fields, values in words instead of paths and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from appliance import labels
from appliance.console.portal.cells import Names, in_full
from appliance.console.portal.forms import FormField, Widget, form_of
from appliance.i18n import _, translated
from appliance.kinds import KINDS

Known = Callable[[str, str], str]
"""Kind and id → name, of what the reader may see; empty: it has none."""
_TYPE: Final = "type"
_STEPS: Final = re.compile(r"[^.\[\]/]+")


class Told:
    """Says what paths of the document mean: ``ring_group/front-desk/members[1].extension``."""

    def __init__(self, known: Known, names: Names) -> None:
        self._known = known
        self._names = names

    def name(self, kind: str, id: str) -> str:
        """What an object is called; its id when the reader knows no name of it."""
        return (self._known(kind, id) if kind in KINDS else "") or id

    def person(self, id: str) -> str:
        """Who did something; who isn't in the document, such as a command's user, stays as it is."""
        return self.name("person", id)

    def whole(self, path: str) -> str:
        """A path to a field in words: ``Ring group Front desk: Members 2: Extension``."""
        kind, _slash, rest = path.partition("/")
        if kind not in KINDS:
            return path
        id, _slash, inner = rest.partition("/")
        parts = [" ".join((translated(labels.of_kind(kind)), self.name(kind, id))).strip(), self.field(kind, inner)]
        return ": ".join(part for part in parts if part)

    def field(self, kind: str, inner: str) -> str:
        """The rest of the path alone; empty: the object as a whole."""
        return ": ".join(_labels(kind, _STEPS.findall(inner))[0])

    def value(self, kind: str, inner: str, text: str) -> str:
        """A field's value, which comes as JSON text. Of secrets it says only that there is one."""
        if text == "(secret)":
            return _("set")
        if text == "(changed)":
            return _("changed")
        value = json.loads(text)
        one = _labels(kind, _STEPS.findall(inner))[1]
        if one is None:
            return "" if value == {} else _plain(value)
        if one.widget is Widget.UNION and isinstance(value, str):
            option = next((option for option in one.options if option.name == value), None)
            return translated(option.label) if option is not None else value
        return in_full(one, value, self._names)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _labels(kind: str, steps: Sequence[str]) -> tuple[list[str], FormField | None]:
    """The labels on the way to a field, and the field. Steps that no form has are said as they are."""
    if kind not in KINDS or not steps:
        return list(steps), None
    if steps[0] == "id":
        return [translated(labels.of_field("", "id"))], None
    one = form_of(KINDS[kind]).field(steps[0])
    if one is None:
        return [".".join(steps)], None
    said = [translated(one.label)]
    for at, step in enumerate(steps[1:], start=1):
        found = _inside(one, step)
        if found is None:
            return [*said, ".".join(steps[at:])], None
        if one.widget is Widget.LIST:
            said[-1] = f"{said[-1]} {int(step) + 1}"
        elif found is not one and found.label not in ("", one.label):
            said.append(translated(found.label))
        one = found
    return said, one


def _inside(one: FormField, step: str) -> FormField | None:
    """What a step leads to inside a field."""
    match one.widget:
        case Widget.LIST:
            return one.item if step.isdigit() else None
        case Widget.GROUP:
            return next((field for field in one.fields if field.name == step), None)
        case Widget.UNION if step == _TYPE:
            return one
        case Widget.UNION:
            inner = (field for option in one.options for field in option.fields if field.name == step)
            return next((option for option in one.options if option.name == step), None) or next(inner, None)
    return None
