"""What templates are given: translations, navigation, choices of pickers, words for values."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import available_timezones

from flask import Blueprint, g, request, url_for

from appliance import labels
from appliance.access.editing import Other
from appliance.access.guarded import GuardedDocument
from appliance.access.seen_calls import zone_of_reader
from appliance.commands.fields import summary
from appliance.console.api.requests import services, subject
from appliance.console.portal.cells import words
from appliance.console.portal.forms import Filled, FormField, Widget
from appliance.console.portal.menu import places
from appliance.console.portal.permission_words import is_permission, offered_permissions, permission_text
from appliance.console.portal.writing import day, moments
from appliance.core.errors import Fault
from appliance.i18n import LANGUAGES, _, language, translated
from appliance.kinds import KINDS
from appliance.pbx.flow.ports import sends

OFFERED_MAX: Final = 100
"""Choices that a picker has on its page, or gets for one search; with more, one searches."""
STATIC: Final = Path(__file__).with_name("static")
LANGUAGE_NAMES: Final = {"it": "Italiano", "en": "English"}
"""Each in itself."""


class Offer:
    """What references may be set to, read once per request."""

    def __init__(self, document: GuardedDocument) -> None:
        self._document = document
        self._known: dict[tuple[str, ...], dict[str, str]] = {}

    def of(self, kinds: Iterable[str]) -> Mapping[str, str]:
        """Id → name of everything of these kinds, by name."""
        key = tuple(kinds)
        if key not in self._known:
            found = self._document.choices(key)
            several = len(key) > 1
            named = (
                (id, f"{label} ({translated(labels.of_kind(kind))})" if several else label) for kind, id, label in found
            )
            self._known[key] = dict(sorted(named, key=lambda pair: pair[1].casefold()))
        return self._known[key]

    def names(self, one: FormField) -> Mapping[str, str]:
        """The same for a field, with what is built in."""
        return {**built_in_of(one), **self.of(one.kinds)}

    def matching(self, kinds: Iterable[str], text: str) -> tuple[list[tuple[str, str]], int]:
        """Those whose name or id has every word of a text; and how many more there are."""
        wanted = text.casefold().split()
        found = [
            (id, label)
            for id, label in self.of(kinds).items()
            if all(word in f"{label} {id}".casefold() for word in wanted)
        ]
        return found[:OFFERED_MAX], max(0, len(found) - OFFERED_MAX)

    def for_picker(self, one: Filled, search: str | None) -> tuple[list[tuple[str, str]], bool]:
        """Options of a picker, the present value among them; and whether there are more than are offered."""
        if one.field.widget is Widget.TIME_ZONE:
            return [(zone, zone) for zone in time_zones()], False
        known = self.of(one.field.kinds)
        large = len(known) > OFFERED_MAX
        offered = self.matching(one.field.kinds, search or "")[0] if search is not None or not large else []
        offered += [(id, label) for id, label in built_in_of(one.field).items() if id not in known]
        value = str(one.value or "")
        if value and value not in dict(offered):
            offered.insert(0, (value, known.get(value, value)))
        return offered, large


def built_in_of(one: FormField) -> dict[str, str]:
    """Id → name of what a reference may name though the document doesn't have it."""
    return {id: translated(labels.of_choice("Role", id)) for id in one.built_in}


@cache
def time_zones() -> tuple[str, ...]:
    """Names of the tz database that stand for places, and UTC."""
    places = (zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/"))
    return (*sorted(places), "UTC")


@cache
def _version(name: str) -> str:
    """Some letters that change with a static file; none if it isn't there: pages work without scripts too."""
    file = STATIC / name
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12] if file.exists() else ""


def asset(name: str) -> str:
    """Address of a static file."""
    return url_for("portal.static", filename=name, v=_version(name) or None)


def capitalize_first(text: str) -> str:
    """With a capital at the beginning; the rest, names and numbers, stays."""
    return text[:1].upper() + text[1:]


def small_first(text: str) -> str:
    """With a small letter at the beginning, inside a sentence; PRACK and E-mail stay."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def label_at(fields: Sequence[Filled], name: str) -> str:
    """What the control of that name is called, in its surroundings: ``Members 2: Extension``."""
    if name == "id":
        return translated("Id")
    for one in fields:
        if name == one.name or name.startswith(f"{one.name}-"):
            own = f"{one.position}" if one.position else translated(one.field.label)
            deeper = label_at(one.inner, name) if name != one.name else ""
            if not deeper:
                return own
            return f"{own} {deeper}" if deeper[:1].isdigit() else f"{own}: {deeper}"
    return ""


def other_text(one: Other) -> str:
    """Who else is changing an object, and since when."""
    who, when = one.who or _("Somebody else"), when_words(one.since)
    if one.doing == "form":
        return _("{who} opened its form, {when}").format(who=who, when=when)
    if not when:
        return _("{who} is changing it").format(who=who)
    return _("{who} is changing it, since {when}").format(who=who, when=when)


def when_words(time: str) -> str:
    """A time in RFC 3339 as the reader's clock had it, to the minute; empty: none is known."""
    if not time:
        return ""
    if "when_words" not in g:  # the same for a whole page
        g.when_words = moments(zone_of_reader(subject(), services().store.document()), seconds=False)
    return str(g.when_words(int(datetime.datetime.fromisoformat(time).timestamp() * 1000)))


def hint_of(fault: Fault) -> str:
    """A fault's hint, unless it is for the command's users."""
    return "" if "centralino " in fault.hint else translated(fault.hint)


def safe_next(path: str) -> str:
    """A path of this site to go on to; the start page for anything else."""
    inside = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if inside else "/"


def add_context(pages: Blueprint, document: Callable[[], GuardedDocument]) -> None:
    """Give every template of the application, those of other blueprints too, what the base layout needs."""

    def offer() -> Offer:
        if "portal_offer" not in g:
            g.portal_offer = Offer(document())
        found: Offer = g.portal_offer
        return found

    def edit_url(kind: str, id: str) -> str:
        return url_for("portal.edit_any" if id == "new" else "portal.edit", kind=kind, id=id)

    def navigation() -> list[tuple[str, list[str]]]:
        return labels.topics(document().kinds())

    def flow_url(kind: str, id: str) -> str:
        """Where an object's part in the call flow is shown; nothing for what has none."""
        if not id or not sends(KINDS[kind]):
            return ""
        return url_for("flow.show", did=id) if kind == "did" else url_for("flow.show", q=id)

    def may_add(kind: str) -> bool:
        known: dict[str, bool] = g.setdefault("portal_may_add", {})
        if kind not in known:
            known[kind] = document().may_add(kind)
        return known[kind]

    pages.add_app_template_filter(capitalize_first)
    pages.add_app_template_filter(small_first)
    pages.add_app_template_filter(permission_text)

    @pages.app_context_processor
    def everything() -> dict[str, Any]:
        theme = request.cookies.get("theme", "")
        return {
            "_": _,
            "t": translated,
            "asset": asset,
            "language": language(),
            "languages": [(code, LANGUAGE_NAMES[code]) for code in LANGUAGES],
            "theme": theme if theme in ("light", "dark") else "",
            "navigation": navigation,
            "places": lambda: places(g.identity.subject) if g.identity is not None else [],
            "kind_label": labels.of_kind,
            "about": lambda kind: summary(KINDS[kind]),
            "edit_url": edit_url,
            "flow_url": flow_url,
            "may_add_kind": may_add,
            "may_see_kind": lambda kind: kind in document().kinds(),
            "offered": lambda one, search: offer().for_picker(one, search),
            "cell": lambda one, value: words(one, value, offer().names),
            "hint_of": hint_of,
            "other_text": other_text,
            "when_words": when_words,
            "label_at": label_at,
            "day": day,
            "is_permission": is_permission,
            "offered_permissions": offered_permissions,
        }
