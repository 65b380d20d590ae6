"""Values in words, for lists and confirmations: labels of choices, names of what is referred to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from appliance.console.portal.forms import FormField, Widget
from appliance.console.portal.permission_words import is_permission, permission_text
from appliance.i18n import _, translated

ENTRIES_MAX: Final = 4
"""Entries of a list that are shown by name."""

Names = Callable[[FormField], Mapping[str, str]]
"""A reference field → id → name of what it may refer to."""


def words(one: FormField, value: Any, names: Names) -> str:
    """One value, in the reader's language; empty for nothing."""
    if value in (None, "", []):
        return ""
    match one.widget:
        case Widget.SWITCH:
            return _("Yes") if value else _("No")
        case Widget.CHOICE:
            return translated(dict(one.choices).get(str(value), str(value)))
        case Widget.BOXES:
            known = dict(one.choices)
            return _several([translated(known.get(str(each), str(each))) for each in value])
        case Widget.REFERENCE:
            return names(one).get(str(value), str(value))
        case Widget.LIST if one.item is not None:
            return _list(one.item, value, names)
        case Widget.UNION:
            return _union(one, value, names)
        case Widget.NUMBER if one.unit:
            return f"{value} {translated(one.unit)}"
        case Widget.SECRET:
            return _("set")
        case Widget.TEXT if is_permission(one):
            return permission_text(str(value))
    return str(value)


def in_full(one: FormField, value: Any, names: Names) -> str:
    """The same with every entry of a list and every field of a part, for whoever compares two values."""
    if value in (None, "", [], {}):
        return ""
    match one.widget:
        case Widget.GROUP:
            return _fields(one, value, names)
        case Widget.UNION:
            option = next((option for option in one.options if option.name == value.get("type")), None)
            if option is None:
                return ""
            inner = _fields(option, value, names)
            return f"{translated(option.label)} ({inner})" if inner else translated(option.label)
        case Widget.LIST if one.item is not None:
            item = one.item
            between = "; " if item.widget is Widget.GROUP or is_permission(item) else ", "
            return between.join(in_full(item, each, names) for each in value)
        case Widget.BOXES:
            known = dict(one.choices)
            return ", ".join(translated(known.get(str(each), str(each))) for each in value)
    return words(one, value, names)


def _fields(one: FormField, value: Mapping[str, Any], names: Names) -> str:
    said = ((translated(field.label), in_full(field, value.get(field.name), names)) for field in one.fields)
    return ", ".join(f"{label}: {text}" for label, text in said if text)


def _several(texts: list[str]) -> str:
    more = len(texts) - ENTRIES_MAX
    between = "; " if any(", " in text for text in texts) else ", "
    return between.join(texts[:ENTRIES_MAX]) + (_(" and {count} more").format(count=more) if more > 0 else "")


def _list(item: FormField, values: list[Any], names: Names) -> str:
    if item.widget is Widget.GROUP:
        first = next((field for field in item.fields if field.required), None)
        if first is None:
            return str(len(values))
        if item.fields[:2] == item.fields and all(field.required for field in item.fields):
            return _several(
                ["–".join(words(field, each.get(field.name), names) for field in item.fields) for each in values]
            )
        return _several([words(first, each.get(first.name), names) for each in values])
    return _several([words(item, each, names) for each in values])


def _union(one: FormField, value: Mapping[str, Any], names: Names) -> str:
    option = next((option for option in one.options if option.name == value.get("type")), None)
    if option is None:
        return ""
    label = translated(option.label)
    first = next((field for field in option.fields if value.get(field.name) not in (None, "", [])), None)
    return f"{label}: {words(first, value[first.name], names)}" if first else label
