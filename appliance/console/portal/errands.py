"""Forms that are opened from another page: what they start with, what is connected when they are saved, the way back.

``?next=/flow`` leads back there, ``?from=did/main/destination`` has that field lead to the new object, ``?near=did/main`` and
``?to={…}`` say what a new object starts with. What takes it all back again goes along as a cookie, which no other site can have set.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from flask import redirect, request
from werkzeug.wrappers import Response

from appliance.access.entries import Entry
from appliance.access.guarded import GuardedDocument
from appliance.console.portal.flow_edit import (
    Step,
    as_text,
    at_once,
    carry_out,
    difference,
    from_text,
    port_field,
    preset,
    split_place,
    with_destination,
)
from appliance.console.portal.page_context import safe_next
from appliance.core.errors import CentralinoError, Fault, InvalidError

COOKIE: Final = "flow_undo"
COOKIE_S: Final = 600
COOKIE_MAX: Final = 3600
"""Characters of what takes an edit back that fit into a cookie."""


@dataclass(frozen=True, slots=True)
class Errand:
    """``next``: where to go on; empty: to the list. ``link``: ``kind/id/field`` that is to lead to the new object."""

    next: str = ""
    link: str = ""

    @classmethod
    def of(cls, values: Mapping[str, str], start: str = "") -> Errand:
        """From an address's parameters, or a form's hidden fields, whose names begin with ``start``."""
        wanted = values.get(f"{start}next", "")
        return cls(wanted if wanted and safe_next(wanted) == wanted else "", values.get(f"{start}from", "")[:300])

    def start(self, guarded: GuardedDocument, kind: str) -> dict[str, Any]:
        """What a new object's form starts with besides the usual."""
        if not self.next:
            return {}
        near = request.args.get("near", "") or self.link
        return preset(guarded, kind, near[:200], request.args.get("to", ""))

    def back(self, guarded: GuardedDocument, saved: Entry, before: Entry | None) -> Response:
        """Connect what was saved, and lead back."""
        undo = [step for step in [difference(before, saved)] if step is not None]
        told = {"saved": f"{saved.item.kind}/{saved.item.id}"}
        if self.link and before is None:
            try:
                undo = [*_linked(guarded, self.link, saved), *undo]
            except CentralinoError:
                told["unlinked"] = self.link
        return self._answer(told, undo)

    def removed(self, entry: Entry) -> Response:
        """Lead back after a removal."""
        kind, id = entry.item.kind, entry.item.id
        return self._answer({"removed": f"{kind}/{id}"}, [Step("add", kind, id, dict(entry.fields))])

    def _answer(self, told: Mapping[str, str], undo: list[Step]) -> Response:
        joint = "&" if "?" in self.next else "?"
        response = redirect(f"{self.next}{joint}{urlencode(told)}", 303)
        value = base64.urlsafe_b64encode(as_text(undo).encode()).decode()
        if undo and len(value) <= COOKIE_MAX:
            response.set_cookie(
                COOKIE, value, max_age=COOKIE_S, path="/", secure=request.is_secure, httponly=True, samesite="Strict"
            )
        return response


def _linked(guarded: GuardedDocument, link: str, saved: Entry) -> list[Step]:
    """Have the field lead to what was saved."""
    kind, id, path = split_place(link)
    way = port_field(kind, path) if kind in guarded.kinds() else None
    for option in way.options if way else ():
        one = at_once(option)
        if one is not None and saved.item.kind in one.kinds:
            entry = guarded.get(kind, id)
            name, value = with_destination(entry, path, {"type": option.name, one.name: saved.item.id})
            return carry_out(guarded, [Step("put", kind, id, {name: value}, entry.etag)])
    raise InvalidError([Fault(link, "is not a destination field", "look at the object again", "unknown_field")])


def carried() -> list[Step]:
    """What takes the last edit back, if it came along."""
    try:
        text = base64.urlsafe_b64decode(request.cookies.get(COOKIE, "").encode()).decode()
        return from_text(text) if text else []
    except (InvalidError, binascii.Error, UnicodeError):
        return []
