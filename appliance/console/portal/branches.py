"""Branches of the voice VPN as they stand now, and shutting one out. Inviting their routers: :mod:`.enrolment`.

Like the other live pages it is whole without scripts; with them figures change in place, and what else has changed is fetched again.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final

from flask import Blueprint, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from appliance.access.seen_calls import zone_of_reader
from appliance.console.api.requests import services, subject
from appliance.console.portal import enrolment
from appliance.console.portal.live import Now
from appliance.console.portal.writing import bit_rate, day, milliseconds, moments, size
from appliance.core.errors import CentralinoError, RefusedError
from appliance.engine.place import has_vpn
from appliance.i18n import _, translated
from appliance.vpn.model import Concentrator

Answer = str | Response | tuple[str, int]
POOR: Final = 0.02
"""Share of lost packets from which on voice suffers (ITU-T G.113, Bpl of G.711 with concealment)."""
SOON_DAYS: Final = 30
BAD: Final = 409
ORDER: Final = {"away": 0, "unknown": 1, "connected": 2, "off": 3}


def branches() -> Blueprint:
    """The pages."""
    pages = Blueprint("branches", __name__)
    pages.get("/branches")(listed)
    pages.get("/branches/<id>/revoke", endpoint="ask")(ask)
    pages.post("/branches/<id>/revoke")(revoke)
    enrolment.add_to(pages)
    pages.add_app_template_filter(bit_rate)
    pages.add_app_template_filter(size)
    pages.add_app_template_filter(milliseconds)
    pages.add_app_template_filter(fault_text)
    return pages


def fault_text(text: str) -> str:
    """A fault in the reader's language: what is wrong, and in brackets what to do. Each is a text of its own."""
    whole = translated(text)
    at = len(text) if whole == text and text.endswith(")") else -1
    while (at := text.rfind(" (", 0, at)) > 0:
        said, hint = text[:at], text[at + 2 : -1]
        if (told := translated(said)) != said:
            return f"{told} ({translated(hint)})"
    return whole


def listed() -> Answer:
    """How every branch stands that the reader may see."""
    now = Now()
    found = now.all("branch")
    if found is None and not now.trouble:
        raise RefusedError("this needs the permission branch:view", "ask an administrator", error_id="forbidden")
    rows = sorted(found or (), key=lambda each: (ORDER[each["state"]], each["name"].casefold(), each["id"]))
    alarms = [each for each in now.all("alarm") or () if each["id"].startswith("vpn-")]
    guarded = services().branches(subject())
    invites = has_vpn() and any(guarded.may_revoke(each["id"]) for each in rows)
    return render_template(
        "branches/list.html", invites=invites, waiting=enrolment.waiting(guarded) if invites else {}, ended=request.args.get("ended", ""), now=now, branches=None if found is None else rows, alarms=alarms, runs=has_vpn(), poor=POOR,
        may_revoke=guarded.may_revoke, moment=moments(_zone(), seconds=False), state_words=state_words(), ends=_ends,
        has_concentrator=bool(services().store.document().all(Concentrator)), revoked=request.args.get("revoked", ""),
    )  # fmt: skip


def _zone() -> str:
    return zone_of_reader(subject(), services().store.document())


def state_words() -> dict[str, str]:
    """How people call the states of a branch."""
    return {
        "connected": _("connected"), "away": _("not connected now"), "unknown": _("not known"), "off": _("switched off"),
    }  # fmt: skip


def _ends(branch: Mapping[str, Any]) -> tuple[str, bool]:
    """Until when its certificate is good, and whether that is soon."""
    try:
        ends = datetime.datetime.fromisoformat(branch["certificate_ends"] or "")
    except ValueError:
        return "–", False
    left = ends - datetime.datetime.now(datetime.UTC)
    return day(ends.date()), left < datetime.timedelta(days=SOON_DAYS)


def ask(id: str, status: int = 200, error: CentralinoError | None = None) -> Answer:
    """Whether it is really to be shut out, and what that means."""
    guarded = services().branches(subject())
    branch = guarded.get(id)
    if not guarded.may_revoke(id):
        raise RefusedError("this needs the permission branch:edit", "ask an administrator", error_id="forbidden")
    page = render_template("branches/revoke.html", branch=branch, name=enrolment.name_of(branch), error=error)
    return page if status == 200 else (page, status)


def revoke(id: str) -> Answer:
    """Shut it out."""
    guarded = services().branches(subject())
    try:
        guarded.revoke(id, request.remote_addr or "")
    except CentralinoError as error:
        if error.error_id in ("not_found", "forbidden"):
            raise
        return ask(id, BAD, error)
    return redirect(url_for("branches.listed", revoked=id), 303)
