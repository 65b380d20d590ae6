"""What a browser sends back (pure): flat names → plain data for :func:`appliance.core.document.parse`, and faults → names.

Texts that can't be right stay as they came, so that the model says what is wrong and the form shows what was typed. A form
also comes back half done, for a button that adds, removes or moves an entry: :func:`act`. Both ways work without scripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.console.portal.forms import Form, FormField, Widget, entry_of
from appliance.core.errors import Fault

Submitted = Mapping[str, Sequence[str]]
"""Name → values, as sent."""
GIVEN: Final = "given"
"""``NAME-given`` says that an entry, or an optional group, is there."""
_ABSENT: Final = object()
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")


def read(form: Form, submitted: Submitted, names: Iterable[str] | None = None, *, tidy: bool = True) -> dict[str, Any]:
    """Plain data of the fields in ``names`` (None: all).

    :param tidy: leave empty entries of lists out, as one wants it when saving.
    """
    wanted = None if names is None else set(names)
    reader = _Reader(submitted, tidy=tidy)
    fields = [one for one in form.fields if wanted is None or one.name in wanted]
    return reader.group(fields, "")


@dataclass(frozen=True, slots=True)
class _Reader:
    submitted: Submitted
    tidy: bool

    def group(self, fields: Iterable[FormField], prefix: str) -> dict[str, Any]:
        values = {one.name: self.value(one, prefix + one.name) for one in fields}
        return {name: value for name, value in values.items() if value is not _ABSENT}

    def first(self, name: str) -> str:
        values = self.submitted.get(name) or ("",)
        return values[0]

    def value(self, one: FormField, name: str) -> Any:
        match one.widget:
            case Widget.SWITCH:
                return name in self.submitted
            case Widget.BOXES:
                return list(self.submitted.get(name, ()))
            case Widget.SECRET:
                return self.first(name) or _ABSENT
            case Widget.GROUP:
                if one.nullable and f"{name}-{GIVEN}" not in self.submitted:
                    return None
                return self.group(one.fields, f"{name}-")
            case Widget.UNION:
                return self.union(one, name)
            case Widget.LIST:
                return self.list(one, name)
            case _:
                return self.text(one, name)

    def text(self, one: FormField, name: str) -> Any:
        text = self.first(name).strip()
        if not text:
            return "" if one.empty_is_text else None if one.nullable else _ABSENT
        if one.widget is Widget.NUMBER and _INTEGER.fullmatch(text):
            return int(text)
        return text

    def union(self, one: FormField, name: str) -> Any:
        kind = self.first(f"{name}-type")
        if not kind:
            return None if one.nullable else _ABSENT
        option = next((option for option in one.options if option.name == kind), None)
        return {"type": kind, **(self.group(option.fields, f"{name}-{kind}-") if option else {})}

    def list(self, one: FormField, name: str) -> list[Any]:
        item = one.item
        if item is None:
            return []
        pattern = re.compile(re.escape(name) + r"-([0-9]{1,5})(?:-.*)?", re.DOTALL)
        places = sorted({int(found[1]) for key in self.submitted if (found := pattern.fullmatch(key))})
        entries = [self.value(item, f"{name}-{place}") for place in places]
        entries = ["" if entry in (_ABSENT, None) else entry for entry in entries]
        return [entry for entry in entries if not self.tidy or not is_blank(item, entry)]


def is_blank(item: FormField, entry: Any) -> bool:
    """Whether nothing was entered into an entry of a list."""
    if item.widget is not Widget.GROUP:
        return entry in ("", None)
    start = entry_of(item)
    return isinstance(entry, dict) and all(
        value in ("", None, []) or value == start.get(name) for name, value in entry.items()
    )


# -- buttons of a half-done form ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Done:
    """What a button did: ``focus`` is the name of the control to go on with, ``text`` (a message id with ``{position}`` and
    ``{count}``) what is said."""

    focus: str = ""
    text: str = ""
    position: int = 0
    count: int = 0


def act(form: Form, data: dict[str, Any], action: str) -> Done:
    """Carry out ``add:LIST``, ``remove:ENTRY``, ``up:ENTRY``, ``down:ENTRY``, ``given:GROUP`` or ``none:GROUP`` on plain data.

    Names that aren't there (any more) change nothing.
    """
    verb, _, name = action.partition(":")
    place = _place(form, data, name)
    if place is None:
        return Done()
    one, holder, key = place
    match verb:
        case "add" if one.widget is Widget.LIST and one.item is not None:
            entries = holder.setdefault(key, []) if isinstance(holder, dict) else holder[key]
            if not entries and one.fewest:
                entries.append(entry_of(one.item))  # the empty entry that was shown
            entries.append(entry_of(one.item))
            return Done(f"{name}-{len(entries) - 1}", ADDED, len(entries), len(entries))
        case "remove" if isinstance(holder, list):
            del holder[key]
            return Done(f"{name.rpartition('-')[0]}", REMOVED, 0, len(holder))
        case "up" | "down" if isinstance(holder, list):
            return _move(holder, key, name, verb)
        case "given" if one.widget is Widget.GROUP and one.nullable:
            holder[key] = entry_of(one)
            return Done(name)
        case "none" if one.widget is Widget.GROUP and one.nullable:
            holder[key] = None
            return Done(name)
    return Done()


ADDED: Final = "Added at position {position} of {count}."
REMOVED: Final = "Removed; {count} left."
MOVED: Final = "Moved to position {position} of {count}."


def _move(entries: list[Any], index: int, name: str, verb: str) -> Done:
    other = index + (-1 if verb == "up" else 1)
    if not 0 <= other < len(entries):
        return Done()
    entries[index], entries[other] = entries[other], entries[index]
    # At an end the arrow that was used is out of use: the other one is there.
    arrow = "down" if other == 0 else "up" if other == len(entries) - 1 else verb
    return Done(f"{name.rpartition('-')[0]}-{other}-{arrow}", MOVED, other + 1, len(entries))


def set_value(form: Form, data: dict[str, Any], name: str, value: Any) -> None:
    """Put a value into the control of that name, if it is there."""
    place = _place(form, data, name)
    if place is not None and place[0].widget in (Widget.REFERENCE, Widget.TEXT, Widget.TIME_ZONE):
        _, holder, key = place
        holder[key] = value


def field_at(form: Form, data: dict[str, Any], name: str) -> FormField | None:
    """The field of the control of that name."""
    place = _place(form, data, name)
    return place[0] if place else None


_Place = tuple[FormField, Any, Any]
"""A field, and the dict or list that holds its value, under which key."""


def _place(form: Form, data: dict[str, Any], name: str) -> _Place | None:
    first, *rest = name.split("-")
    one = form.field(first)
    return _within(one, data, first, rest) if one else None


def _within(one: FormField, holder: Any, key: Any, rest: Sequence[str]) -> _Place | None:
    if not rest:
        return one, holder, key
    value = holder[key] if isinstance(holder, list) else holder.get(key)
    step, *more = rest
    match one.widget:
        case Widget.LIST if one.item is not None and step.isascii() and step.isdigit():
            if value == [] and one.fewest:
                value.append(entry_of(one.item))
            if not isinstance(value, list) or int(step) >= len(value):
                return None
            return _within(one.item, value, int(step), more)
        case Widget.GROUP if isinstance(value, dict):
            inner = next((field for field in one.fields if field.name == step), None)
            return _within(inner, value, step, more) if inner else None
        case Widget.UNION if isinstance(value, dict) and value.get("type") == step:
            option = next((option for option in one.options if option.name == step), None)
            return _within(option, holder, key, more) if option else None
    return None


# -- faults ---------------------------------------------------------------------------------------------------------


def placed(form: Form, data: Mapping[str, Any], faults: Iterable[Fault], kind: str, id: str) -> dict[str, list[Fault]]:
    """Faults by the flat name of the control that they belong to; under the empty name those that no control has."""
    found: dict[str, list[Fault]] = {}
    for fault in faults:
        at = fault.path.split("/", 2)
        name = ""
        if at[0] == kind and len(at) == 3 and at[1] in (id, id[:40], "?"):
            name = _name_of(form, data, re.findall(r"[^.\[\]]+", at[2]))
        found.setdefault(name, []).append(fault)
    # The model doesn't count entries with faults; that one has too few of them isn't what is wrong then.
    for name in [name for name in found if any(other.startswith(f"{name}-") for other in found if name)]:
        found[name] = [fault for fault in found[name] if fault.error_id != "too_short"]
    return {name: several for name, several in found.items() if several}


def _name_of(form: Form, data: Mapping[str, Any], steps: list[str]) -> str:
    if steps == ["id"]:
        return "id"
    one = form.field(steps[0]) if steps else None
    return _deepest(one, data.get(steps[0]), steps[0], steps[1:]) if one else ""


def _deepest(one: FormField, value: Any, name: str, rest: Sequence[str]) -> str:
    """The name of the innermost control that the steps lead to."""
    if not rest:
        return name
    step, *more = rest
    match one.widget:
        case Widget.LIST if one.item is not None and step.isdigit():
            entries = value if isinstance(value, list) else []
            entry = entries[int(step)] if int(step) < len(entries) else None
            return _deepest(one.item, entry, f"{name}-{step}", more)
        case Widget.GROUP:
            inner = next((field for field in one.fields if field.name == step), None)
            return _deepest(inner, (value or {}).get(step), f"{name}-{step}", more) if inner else name
        case Widget.UNION:
            return _in_union(one, value, name, rest)
    return name


def _in_union(one: FormField, value: Any, name: str, rest: Sequence[str]) -> str:
    """The model names the type in a path, checks between objects don't: ``destination.number.site``, ``destination.site``."""
    kind = value.get("type") if isinstance(value, dict) else None
    option = next((option for option in one.options if option.name == kind), None)
    if option is None:
        return name
    fields = {field.name for field in option.fields}
    steps = rest[1:] if rest[0] == kind and (len(rest) > 1 or kind not in fields) else rest
    return _deepest(option, value, f"{name}-{kind}", steps) if steps else name
